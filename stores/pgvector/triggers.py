"""What a guarded write adds for a table with triggers that run before a row is written.

The row that comes out is the one that went in, or the batch is refused. An ``updated_at`` passes: only what vecferry
writes is compared. A trigger that rewrites a title, or returns NULL to keep a row, would otherwise make two stores
differ with nobody told.
"""

from __future__ import annotations

from ...schemas.batch import Op, Outcome
from .layout import Layout, literal
from .mapping import POSITION

_DELETE, _APPLIED = int(Op.DELETE), int(Outcome.APPLIED)


def returning(layout: Layout, names: list[str]) -> str:
    """The clause of the INSERT; ``names`` are the metadata columns, in order."""
    if not layout.changed_by_triggers:
        return ""
    members = "".join(f", t.{name} AS m{i}" for i, name in enumerate(names))
    return f"\n  RETURNING t.{layout.id} AS id, t.{layout.vector} AS vector, t.{POSITION} AS position{members}"


def returning_id(layout: Layout) -> str:
    """The clause of the DELETE."""
    return f"\n  RETURNING t.{layout.id} AS id" if layout.changed_by_triggers else ""


def changed(layout: Layout, names: list[str]) -> str:
    """A further CTE, with a problem for each row that did not come out as it went in."""
    if not layout.changed_by_triggers:
        return ""
    differs = [
        "w.position IS DISTINCT FROM j.position",
        f"coalesce(w.vector OPERATOR({layout.extension}.<>) j.vector, true)",
        *(f"to_jsonb(w.m{i}) IS DISTINCT FROM to_jsonb(j.m{i})" for i in range(len(names))),
    ]
    problem = literal(f"a trigger of {layout.table} changes what is written, or holds it back: id ")
    return f""", changed AS (
  SELECT {problem} || j.id::text AS problem FROM judged j LEFT JOIN written w ON w.id = j.id
  WHERE j.outcome = {_APPLIED} AND j.op <> {_DELETE} AND ({" OR ".join(differs)})
  UNION ALL
  SELECT {problem} || j.id::text FROM judged j JOIN {layout.table} t ON t.{layout.id} = j.id
  WHERE j.outcome = {_APPLIED} AND j.op = {_DELETE} AND NOT EXISTS (SELECT FROM gone g WHERE g.id = j.id)
)"""


def problem(layout: Layout) -> str:
    """The worst that there is to say of the batch, or null."""
    return (
        "coalesce(min(problem), (SELECT min(problem) FROM changed))" if layout.changed_by_triggers else "min(problem)"
    )
