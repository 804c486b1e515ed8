"""A placement held against the catalogue: what is wrong with it, or the statements that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Refused
from ...schemas.collection import Collection, Placement
from . import mapping, refusals
from .apply import ApplySql, apply_sql
from .catalog import Table, read_server, read_table
from .connection import Connection, run
from .layout import Layout, make_layout, quote
from .shape import Shape, changes, fingerprint, read_shape, remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """``layout`` and ``sql`` hold for the table of that ``fingerprint``; ``changed`` since it was enrolled."""

    layout: Layout
    sql: ApplySql
    fingerprint: int
    shape: Shape
    changed: tuple[str, ...]


def resolve(
    connection: Connection, parts: tuple[str, ...], collection: Collection, placement: Placement, first: Shape | None
) -> Resolved:
    """The table as it is now. ``first``: what it was like at the first look, where its enrolment kept nothing.

    Raises Refused when it cannot be used, or is not enrolled.
    """
    # Before the catalogue is read: what is altered in between is noticed at the next batch.
    row = run(connection, f"SELECT {fingerprint(quote(*parts))}").fetchone()
    problems, table, _ = judge(connection, parts, collection, placement)
    if problems:
        raise Refused(problems)
    if table is None or not is_enrolled(table):
        raise Refused(f"table {placement.table} is not enrolled; run `vecferry enrol {collection.name}`")
    oid = read_server(connection).vector_oid
    assert oid is not None
    assert row is not None
    layout = make_layout(table, collection, placement, oid)
    now = read_shape(connection, table, placement)
    before = remembered(connection, table.schema, table.name) or first or now
    return Resolved(
        layout=layout, sql=apply_sql(layout), fingerprint=row[0], shape=now, changed=tuple(changes(before, now))
    )


def is_enrolled(table: Table | None) -> bool:
    """Whether it has the column of positions."""
    return table is not None and mapping.POSITION in table.columns


def judge(
    connection: Connection, parts: tuple[str, ...], collection: Collection, placement: Placement
) -> tuple[tuple[str, ...], Table | None, tuple[str, str]]:
    """Problems, the table if it exists, and schema and name of the table that is or will be."""
    server, table = read_server(connection), read_table(connection, parts)
    problems = [*refusals.server_problems(server)]
    if table is None:
        problems += refusals.new_table_problems(server, placement)
        schema = parts[0] if len(parts) == 2 else server.schema or ""
        return tuple(problems), None, (schema, parts[-1])
    problems += refusals.table_problems(table, collection, placement)
    if not problems and not is_enrolled(table):
        problems += _row_problems(connection, table, collection, placement)
    return tuple(problems), table, (table.schema, table.name)


def _row_problems(connection: Connection, table: Table, collection: Collection, placement: Placement) -> list[str]:
    """What the rows of a table that is not enrolled yet hold; reads it once."""
    oid = read_server(connection).vector_oid
    assert oid is not None
    layout = make_layout(table, collection, placement, oid)
    statement, explain = refusals.row_checks(layout, nullable_vector=table.columns[placement.vector].nullable)
    row = run(connection, statement).fetchone()
    assert row is not None
    return [text for found, text in zip(row, explain, strict=True) if found]
