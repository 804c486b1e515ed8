"""The guarded statement: judge, write, delete and remember a whole batch in one step.

The same transaction first locks the rows of the batch's partitions in ``…_vecferry_partitions``. Under READ COMMITTED
every statement takes a new snapshot, so once the lock is held this one sees everything that an earlier owner of the
partition has committed, deletes included. Without the lock, a zombie could miss a delete and insert the row again.
"""

from __future__ import annotations

from ...schemas.batch import Op, Outcome
from . import triggers
from .layout import Layout, literal, quote
from .mapping import POSITION

_DELETE = int(Op.DELETE)
_APPLIED, _STALE, _DUPLICATE = int(Outcome.APPLIED), int(Outcome.STALE), int(Outcome.DUPLICATE)


def lock_partitions(layout: Layout) -> str:
    """$1: the partitions. Returns those that exist, with their marks. Locks in one order, so writers cannot deadlock.

    A writer of an older epoch finds none. The epoch cannot change while the lock is held.
    """
    return (
        f"SELECT partition, applied FROM {layout.partitions} "
        f"WHERE partition = ANY($1) AND epoch = {layout.collection.epoch} ORDER BY partition FOR UPDATE"
    )


def guarded_write(layout: Layout) -> str:
    """$1 ids text[], $2 ops smallint[], $3 positions bigint[], $4 vectors vector[], $5 metadata text[].

    Returns one row: the outcomes, one digit each, in the order of the arrays, and a problem or null. On a problem the
    caller rolls back.
    """
    return f"""
WITH incoming AS (
  SELECT u.n, u.id::{layout.id_type} AS id, u.op, u.position, u.vector,
         u.metadata::jsonb AS metadata, u.metadata AS text
  FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::{layout.vector_type}[], $5::text[])
       WITH ORDINALITY AS u(id, op, position, vector, metadata, n)
), known AS (
  SELECT i.*, greatest(CASE WHEN t.{layout.id} IS NOT NULL THEN {layout.position} END, d.position) AS q
  FROM incoming i
  LEFT JOIN {layout.table} t ON t.{layout.id} = i.id
  LEFT JOIN {layout.deleted} d ON d.id = i.id
), judged AS MATERIALIZED (
  SELECT k.n, k.id, k.op, k.position, k.vector, {"".join(f"{value}, " for value in _values(layout))}
         CASE WHEN k.q IS NULL OR k.position > k.q THEN {_APPLIED}
              WHEN k.position = k.q THEN {_DUPLICATE} ELSE {_STALE} END AS outcome,
         {_problem(layout)} AS problem
  FROM known k{_record(layout)}
), {_effects(layout)}
SELECT string_agg(outcome::text, '' ORDER BY n), {triggers.problem(layout)} FROM judged"""


def _effects(layout: Layout) -> str:
    """The writes. Only a writer that bypasses the lock can conflict; the guard is repeated here against it."""
    names = [layout.vector, *_names(layout), POSITION]
    return f"""written AS (
  INSERT INTO {layout.table} AS t ({layout.id}, {", ".join(names)}) OVERRIDING SYSTEM VALUE
  SELECT j.id, j.vector, {"".join(f"j.m{i}, " for i in range(len(names) - 2))}j.position
  FROM judged j WHERE j.outcome = {_APPLIED} AND j.op <> {_DELETE} ORDER BY j.n
  ON CONFLICT ({layout.id}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in names)}
  WHERE {layout.position} < excluded.{POSITION}{triggers.returning(layout, _names(layout))}
), gone AS (
  DELETE FROM {layout.table} t USING judged j
  WHERE t.{layout.id} = j.id AND j.outcome = {_APPLIED} AND j.op = {_DELETE}
    AND {layout.position} < j.position{triggers.returning_id(layout)}
), forgotten AS (
  DELETE FROM {layout.deleted} d USING judged j
  WHERE d.id = j.id AND j.outcome = {_APPLIED} AND j.op <> {_DELETE} AND d.position < j.position
), remembered AS (
  INSERT INTO {layout.deleted} AS d (id, position)
  SELECT j.id, j.position FROM judged j WHERE j.outcome = {_APPLIED} AND j.op = {_DELETE} ORDER BY j.n
  ON CONFLICT (id) DO UPDATE SET position = excluded.position WHERE d.position < excluded.position
){triggers.changed(layout, _names(layout))}"""


def _names(layout: Layout) -> list[str]:
    columns = layout.columns if layout.json is None else (layout.json,)
    return [quote(column.name) for column in columns]


def _values(layout: Layout) -> list[str]:
    if layout.json is not None:
        return ["k.metadata AS m0" if layout.json.type == "jsonb" else "k.text::json AS m0"]
    return [f"r.{quote(column.name)} AS m{i}" for i, column in enumerate(layout.columns)]


def _record(layout: Layout) -> str:
    if layout.json is not None or not layout.columns:
        return ""
    declared = ", ".join(f"{quote(column.name)} {column.declared}" for column in layout.columns)
    return f" CROSS JOIN LATERAL jsonb_to_record(k.metadata) AS r({declared})"


def _problem(layout: Layout) -> str:
    """Why the metadata of row ``k`` cannot be stored unchanged, or null."""
    if layout.json is not None:
        return "CASE WHEN jsonb_typeof(k.metadata) <> 'object' THEN 'metadata is not a JSON object' END"
    keys = f"ARRAY[{', '.join(literal(column.name) for column in layout.columns)}]::text[]"
    cases = [
        f"WHEN jsonb_strip_nulls(k.metadata - {keys}) <> '{{}}' THEN 'no column for ' || (k.metadata - {keys})::text"
    ]
    for column in layout.columns:
        # A cast may change a value silently: 5 into text, 1.234 into numeric(3,2), a date in another spelling.
        given = f"nullif(k.metadata -> {literal(column.name)}, 'null')"
        problem = literal(f"{column.name} would not come back from {column.declared} as it is: ")
        cases.append(f"WHEN to_jsonb(r.{quote(column.name)}) IS DISTINCT FROM {given} THEN {problem} || {given}::text")
    return f"CASE {' '.join(cases)} END"


def advance_live(layout: Layout) -> str:
    """$1 partitions, $2 next offsets. A mark never moves back."""
    return f"""
UPDATE {layout.partitions} p SET applied = m.next_offset
FROM unnest($1::int[], $2::bigint[]) AS m(partition, next_offset)
WHERE p.partition = m.partition AND p.applied < m.next_offset"""


def advance_snapshot(layout: Layout) -> str:
    """$1 run, $2 partition, $3 next offset, $4 next chunk, $5 closed. Returns the earlier next offset."""
    epoch = layout.collection.epoch
    return f"""
WITH before AS (
  SELECT next_offset FROM {layout.snapshots} WHERE epoch = {epoch} AND run = $1 AND partition = $2
)
INSERT INTO {layout.snapshots} AS s (epoch, run, partition, next_offset, next_chunk, closed)
VALUES ({epoch}, $1, $2, $3, $4, $5)
ON CONFLICT (epoch, run, partition) DO UPDATE SET
  next_offset = greatest(s.next_offset, excluded.next_offset),
  next_chunk = greatest(s.next_chunk, excluded.next_chunk),
  closed = s.closed OR excluded.closed
RETURNING (SELECT next_offset FROM before)"""


def set_complete(layout: Layout) -> str:
    """$1: partitions whose run was closed."""
    return f"UPDATE {layout.partitions} SET complete = true WHERE partition = ANY($1)"
