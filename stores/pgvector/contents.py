"""The verifier's path: text rows by keyset. Shares neither statement nor decoding with ``read``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import Fatal
from ...schemas.batch import Rows
from . import mapping
from .connection import Connection, run
from .layout import Layout

_ROW = tuple[Any, ...]
_HEADER_BYTES = 4


def export(connection: Connection, layout: Layout, after: str | None, limit: int) -> Rows:
    """See ``Store.export``."""
    condition = f"WHERE {layout.present}" + ("" if after is None else f" AND t.{layout.id} > $2::{layout.id_type}")
    found = run(
        connection,
        f"SELECT {_columns(layout)} FROM {layout.table} t {condition} ORDER BY t.{layout.id} LIMIT $1",
        [limit] if after is None else [limit, after],
    ).fetchall()
    return _rows(found, layout.collection.space.dimension)


def fetch(connection: Connection, layout: Layout, ids: Sequence[str]) -> Rows:
    """See ``Store.fetch``. Row and ledger come from one snapshot; a row wins over the ledger."""
    wanted = [id_ for id_ in ids if mapping.is_canonical(id_, layout.collection.id_type)]
    found = run(
        connection,
        f"SELECT {_columns(layout)} FROM {layout.table} t "
        f"WHERE t.{layout.id} = ANY($1::text[]::{layout.id_type}[]) AND {layout.present} "
        f"UNION ALL SELECT d.id::text, d.position, NULL, NULL FROM {layout.deleted} d "
        f"WHERE d.id = ANY($1::text[]::{layout.id_type}[]) "
        f"AND NOT EXISTS (SELECT FROM {layout.table} t WHERE t.{layout.id} = d.id{layout.id_collate} "
        f"AND {layout.present})",
        [wanted],
    ).fetchall()
    return _rows(found, layout.collection.space.dimension, deleted_have_no_vector=True)


def _columns(layout: Layout) -> str:
    vector = f"encode({layout.extension}.vector_send(t.{layout.vector}), 'hex')"
    return f"t.{layout.id}::text, {layout.position}, {vector}, {layout.metadata}"


def _rows(found: list[_ROW], dimension: int, *, deleted_have_no_vector: bool = False) -> Rows:
    deleted = np.array([metadata is None for *_, metadata in found], dtype=np.bool_)
    vectors = np.zeros((len(found), dimension), dtype=np.float32)
    texts = [row[2] for row in found if row[2] is not None]
    if len(texts) != len(found) - (int(deleted.sum()) if deleted_have_no_vector else 0):
        raise Fatal("a row holds no vector; it was written past vecferry: publish its right state again")
    vectors[~deleted] = parse_vectors(texts, dimension)
    return Rows(
        ids=[row[0] for row in found],
        positions=np.array([row[1] for row in found], dtype=np.int64),
        deleted=deleted,
        vectors=vectors,
        metadata=[b"" if row[3] is None else row[3].encode() for row in found],
    )


def parse_vectors(texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """float32 [n, d] of hexadecimal ``vector_send``: 4 bytes of header, then big-endian float32.

    Not pgvector's decimal text: that is ten times slower to make and read, and numpy reads a float32 by way of a
    float64, which rounds twice and gives the neighbour of some numbers (7.038531e-26 is one).
    """
    if any(len(text) != 2 * (_HEADER_BYTES + 4 * dimension) for text in texts):
        raise Fatal(
            f"a row holds no vector of {dimension} dimensions; it was written past vecferry: "
            "publish its right state again"
        )
    values = bytes.fromhex("".join([text[2 * _HEADER_BYTES :] for text in texts]))
    return np.frombuffer(values, dtype=">f4").astype(np.float32).reshape(len(texts), dimension)
