"""The mover's path: chunk plan, and binary COPY."""

from __future__ import annotations

from ...schemas.batch import Rows
from ..base import Cursor
from ..key_ranges import cut
from .connection import Connection, run
from .layout import Layout, literal
from .wire.copying import decode_copy


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
        f"FROM {layout.table} t WHERE {range_condition(layout, lower, upper)} AND {layout.present} "
        f"ORDER BY t.{layout.id} LIMIT {limit:d}) "
        "TO STDOUT (FORMAT BINARY)"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        messages = [bytes(message) for message in copy]
    return decode_copy(messages, layout.collection.space.dimension)
