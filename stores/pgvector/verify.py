"""The verifier's path: text rows by keyset. Shares neither statement nor decoding with ``read``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import Fatal
from ...schemas.batch import Rows
from . import mapping
from .connection import Connection, run
from .layout import Layout

_ROW = tuple[Any, ...]


def export(connection: Connection, layout: Layout, after: str | None, limit: int) -> Rows:
    """See ``Store.export``."""
    condition = "" if after is None else f"WHERE t.{layout.id} > $2::{layout.id_type}"
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
        f"SELECT {_columns(layout)} FROM {layout.table} t WHERE t.{layout.id} = ANY($1::text[]::{layout.id_type}[]) "
        f"UNION ALL SELECT d.id::text, d.position, NULL, NULL FROM {layout.deleted} d "
        f"WHERE d.id = ANY($1::text[]::{layout.id_type}[]) "
        f"AND NOT EXISTS (SELECT FROM {layout.table} t WHERE t.{layout.id} = d.id)",
        [wanted],
    ).fetchall()
    return _rows(found, layout.collection.space.dimension, deleted_have_no_vector=True)


def _columns(layout: Layout) -> str:
    return f"t.{layout.id}::text, {layout.position}, t.{layout.vector}::text, {layout.metadata}"


def _rows(found: list[_ROW], dimension: int, *, deleted_have_no_vector: bool = False) -> Rows:
    deleted = np.array([metadata is None for *_, metadata in found], dtype=np.bool_)
    vectors = np.zeros((len(found), dimension), dtype=np.float32)
    texts = [row[2] for row in found if row[2] is not None]
    if len(texts) != len(found) - (int(deleted.sum()) if deleted_have_no_vector else 0):
        raise Fatal("a row holds no vector; it was written past vecferry: repair or delete it")
    vectors[~deleted] = parse_vectors(texts, dimension)
    return Rows(
        ids=[row[0] for row in found],
        positions=np.array([row[1] for row in found], dtype=np.int64),
        deleted=deleted,
        vectors=vectors,
        metadata=[b"" if row[3] is None else row[3].encode() for row in found],
    )


def parse_vectors(texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """float32 [n, d] of pgvector's text form, every value as the nearest float32 of its decimal digits.

    PostgreSQL prints the shortest digits that name one float32. Numbers are parsed as float64 and rounded once more;
    where the float64 lies exactly between two float32, that second rounding may go the wrong way (7.038531e-26 is such
    a number), so those few are rounded from their digits.
    """
    numbers = ",".join([text[1:-1] for text in texts])
    wide = np.fromstring(numbers, dtype=np.float64, sep=",") if numbers else np.zeros(0)
    narrow = wide.astype(np.float32)
    with np.errstate(over="ignore"):
        other = np.nextafter(narrow, np.where(wide > narrow, np.float32(np.inf), np.float32(-np.inf)), dtype=np.float32)
    between = np.flatnonzero((wide != narrow) & (np.abs(wide - narrow) == np.abs(other.astype(np.float64) - wide)))
    if len(between):
        digits = numbers.split(",")
        for i in between:
            exact = Fraction(digits[i])
            candidates = (narrow[i], other[i])
            narrow[i] = min(candidates, key=lambda value: abs(Fraction(float(value)) - exact))
    if len(narrow) != len(texts) * dimension:
        raise Fatal(f"{len(texts)} rows hold {len(narrow)} numbers, not {dimension} each")
    return narrow.reshape(len(texts), dimension)
