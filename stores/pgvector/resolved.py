"""A placement held against the catalogue, and the statements that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from ...schemas.collection import Collection, Placement
from .apply import ApplySql, apply_sql
from .connection import Connection, run
from .judging import judge
from .layout import Layout, quote
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
    judged = judge(connection, collection, placement, parts)
    layout = judged.layout()
    assert judged.table is not None
    assert row is not None
    now = read_shape(connection, judged.table, placement)
    before = remembered(connection, *judged.parts) or first or now
    return Resolved(
        layout=layout, sql=apply_sql(layout), fingerprint=row[0], shape=now, changed=tuple(changes(before, now))
    )
