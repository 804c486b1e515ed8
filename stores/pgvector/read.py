"""The mover's path: chunk plan, and binary COPY decoded by columns."""

from __future__ import annotations

import numpy as np

from ...errors import Fatal
from ...schemas.batch import Rows
from ..base import Cursor
from ..key_ranges import cut
from .connection import Connection, run
from .layout import Layout, literal

_HEADER_BYTES = 19  # signature, flags, length of the (empty) header extension
_TRAILER = b"\xff\xff"
_NO_VECTOR = "a row holds no vector of {} dimensions; it was written past vecferry: repair or delete it"


def plan(connection: Connection, layout: Layout, rows_per_chunk: int) -> tuple[Cursor, ...]:
    """Every ``rows_per_chunk``-th id is a bound, but not the last id of all; one pass over the index of the id."""
    bounds = run(
        connection,
        f"SELECT id::text FROM (SELECT t.{layout.id} AS id, row_number() OVER (ORDER BY t.{layout.id}) AS n "
        f"FROM {layout.table} t) AS numbered WHERE n % $1::bigint = 0 "
        f"AND id < (SELECT t.{layout.id} FROM {layout.table} t ORDER BY t.{layout.id} DESC LIMIT 1) ORDER BY n",
        [rows_per_chunk],
    )
    return cut(bound for (bound,) in bounds)


def range_condition(layout: Layout, lower: str | None, upper: str | None) -> str:
    """``lower`` exclusive, ``upper`` inclusive, in the order of the id's own type and collation."""
    terms = [
        f"t.{layout.id} {operator} {literal(bound)}::{layout.id_type}"
        for operator, bound in ((">", lower), ("<=", upper))
        if bound is not None
    ]
    return " AND ".join(terms) or "true"


def copy_page(connection: Connection, layout: Layout, lower: str | None, upper: str | None, limit: int) -> Rows:
    """The first ``limit`` rows of a range: its own statement, so that it sees all that was applied before."""
    # The columns of fixed size come first: those of all rows are then decoded at once.
    statement = (
        f"COPY (SELECT {layout.position}, t.{layout.vector}, t.{layout.id}::text, {layout.metadata} "
        f"FROM {layout.table} t WHERE {range_condition(layout, lower, upper)} ORDER BY t.{layout.id} LIMIT {limit:d}) "
        "TO STDOUT (FORMAT BINARY)"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        messages = [bytes(message) for message in copy]
    return decode_copy(messages, layout.collection.space.dimension)


def decode_copy(messages: list[bytes], dimension: int) -> Rows:
    """The rows (bigint, vector, text, text) of a binary COPY, one message each; raises Fatal for anything else."""
    fixed = np.dtype(
        [
            *(("fields", ">i2"), ("bytes_8", ">i4"), ("position", ">i8"), ("bytes_v", ">i4"), ("dimension", ">i2")),
            *(("unused", ">i2"), ("vector", ">f4", (dimension,)), ("id_bytes", ">i4")),
        ]
    )
    size = fixed.itemsize
    # The first message begins with the header; the trailer comes as a message of its own, or right after the header.
    rows = [message for message in (messages[0][_HEADER_BYTES:], *messages[1:]) if message != _TRAILER]
    if any(len(row) < size for row in rows):
        raise Fatal(_NO_VECTOR.format(dimension))
    table = np.frombuffer(b"".join([row[:size] for row in rows]), dtype=fixed)
    if len(table) and (
        np.any(table["fields"] != 4)
        | np.any(table["bytes_v"] != 4 + 4 * dimension)
        | np.any(table["dimension"] != dimension)
    ):
        raise Fatal(_NO_VECTOR.format(dimension))
    ids, metadata = [], []
    for row, id_bytes in zip(rows, table["id_bytes"].tolist(), strict=True):
        end = size + id_bytes
        ids.append(row[size:end].decode())
        start = end + 4
        metadata.append(row[start : start + int.from_bytes(row[end:start], "big")])
    return Rows(
        ids=ids,
        positions=table["position"].astype(np.int64),
        deleted=np.zeros(len(rows), dtype=np.bool_),
        vectors=table["vector"].astype(np.float32, order="C").reshape(len(rows), dimension),
        metadata=metadata,
    )
