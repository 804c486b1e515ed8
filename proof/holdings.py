"""The checker's own reading of the two stores: its own SQL, its own call of LanceDB, none of vecferry's adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import psycopg

from .catalogue import METADATA
from .ledger import BASE, State, digest

_VECTOR_HEADER_BYTES = 4
_BATCH_ROWS = 2_000


class OldStore:
    """The application's table in PostgreSQL, and the ledger of deletes beside it."""

    name = "old"

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """Id -> stored position, of a row or of a remembered delete; unknown ids are left out."""
        found = self._connection.execute(
            "SELECT id, position FROM products_vecferry_deleted WHERE id = ANY(%(ids)s) "
            "UNION ALL SELECT sku, coalesce(vecferry_position, %(base)s) FROM products WHERE sku = ANY(%(ids)s)",
            {"ids": list(ids), "base": BASE},
        ).fetchall()
        newest: dict[str, int] = {}
        for id_, position in found:
            newest[id_] = max(position, newest.get(id_, position))
        return newest

    def everything(self) -> dict[str, State]:
        """Every row, and every delete that is remembered."""
        deleted = self._connection.execute("SELECT id, position FROM products_vecferry_deleted").fetchall()
        states = {id_: State(position=position, content=None) for id_, position in deleted}
        columns = ", ".join(METADATA)
        with self._connection.transaction(), self._connection.cursor("everything", binary=True) as cursor:
            cursor.itersize = _BATCH_ROWS
            cursor.execute(f"SELECT sku, vecferry_position, embedding, {columns} FROM products")
            for id_, position, vector, *metadata in cursor:
                components = np.frombuffer(vector, ">f4", offset=_VECTOR_HEADER_BYTES).astype(np.float32)
                content = digest(components, dict(zip(METADATA, metadata, strict=True)))
                states[id_] = State(position=BASE if position is None else position, content=content)
        return states

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class NewStore:
    """The table in LanceDB: rows, and deletes as rows without a vector. Ids that begin with NUL are marks."""

    name = "new"

    def __init__(self, directory: Path) -> None:
        self._database = lancedb.connect(directory)

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """Id -> stored position, of a row or of a remembered delete; unknown ids are left out."""
        wanted = ", ".join("'" + id_.replace("'", "''") + "'" for id_ in ids)
        query = (
            self._table().search().where(f"id IN ({wanted})").select(["id", "vecferry_position"]).limit(len(ids) * 10)
        )
        found = query.to_arrow()
        return dict(zip(found["id"].to_pylist(), map(_position, found["vecferry_position"].to_pylist()), strict=True))

    def everything(self) -> dict[str, State]:
        """Every row, and every delete that is remembered; raises RuntimeError when an id is there twice."""
        states: dict[str, State] = {}
        for batch in self._table().to_arrow().to_batches(max_chunksize=_BATCH_ROWS):
            states |= _states(batch, states)
        return states

    def close(self) -> None:
        """Nothing is held."""

    def _table(self) -> Any:
        return self._database.open_table("products")


def _states(batch: Any, known: dict[str, State]) -> dict[str, State]:
    vectors = batch["vector"]
    dimension = vectors.type.list_size
    values = vectors.values.slice(vectors.offset * dimension, len(vectors) * dimension)
    matrix = values.to_numpy(zero_copy_only=False).reshape(-1, dimension)
    states: dict[str, State] = {}
    for row, entry in enumerate(batch.select(["id", "vecferry_position", "vecferry_deleted", "metadata"]).to_pylist()):
        id_ = entry["id"]
        if id_.startswith("\0"):
            continue
        if id_ in known or id_ in states:
            raise RuntimeError(f"the new store holds {id_!r} twice")
        content = None if entry["vecferry_deleted"] else digest(matrix[row], json.loads(entry["metadata"]))
        states[id_] = State(position=_position(entry["vecferry_position"]), content=content)
    return states


def _position(stored: int | None) -> int:
    # A copied row carries the base position of its epoch, which lies just below the epoch's first event.
    return BASE if stored is None or stored < 1 << 41 else stored
