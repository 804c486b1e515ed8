"""What the table was like when it was enrolled, and whether somebody has altered it since.

A batch is written in a transaction that first locks the table against ALTER TABLE and reads its fingerprint. If that is
not the one that the statements were made for, they are made anew. So a value is never cast to a type that was not
checked. What was true at enrolment is kept as the comment of a companion table: a record that does not fit an altered
column is no fault of the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...schemas.collection import Collection, Placement
from .catalog import Table
from .connection import Connection, run
from .layout import literal, quote
from .mapping import companion

# What may refuse or change an event beside the columns: not the key that every collection has.
_RULES = """
SELECT 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = $1::bigint::oid AND contype IN ('c', 'f')
UNION ALL
SELECT 'index ' || c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND i.indnatts = 1
WHERE i.indrelid = $1::bigint::oid AND (i.indisunique OR i.indisexclusion) AND a.attname IS DISTINCT FROM $2::text
UNION ALL
SELECT 'trigger ' || tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = $1::bigint::oid AND NOT tgisinternal AND tgenabled IN ('O', 'A')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``columns``: the id and the metadata columns as they are declared.

    ``rules``: "constraint NAME", "index NAME" (a unique one) or "trigger NAME" -> its definition.
    """

    columns: Mapping[str, str]
    rules: Mapping[str, str]


def fingerprint(table: str) -> str:
    """An expression: a number that changes when the table of that quoted name is altered or is another one.

    ``test_the_fingerprint_sees`` lists what it must see.
    """
    return f"""(
  SELECT hashtextextended(concat_ws('|', c.oid, c.relkind, c.relpersistence, c.relchecks, c.relhasrules,
    c.relrowsecurity,
    (SELECT string_agg(concat_ws(',', a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attcollation, a.atthasdef,
                                 a.attidentity, a.attgenerated, a.attisdropped), ';' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
    (SELECT string_agg(concat_ws(',', i.indexrelid, i.indisvalid, i.indimmediate), ';' ORDER BY i.indexrelid)
     FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)),
    (SELECT string_agg(concat_ws(',', g.oid, g.tgenabled), ';' ORDER BY g.oid)
     FROM pg_trigger g WHERE g.tgrelid = c.oid AND c.relhastriggers)), 0)
  FROM pg_class c WHERE c.oid = to_regclass({literal(table)}))"""


def read_shape(connection: Connection, table: Table, placement: Placement) -> Shape:
    """The table as it is."""
    found = [table.columns[name] for name in (placement.id, *_metadata(placement)) if name in table.columns]
    return Shape(
        columns={column.name: column.declared + ("" if column.nullable else " NOT NULL") for column in found},
        rules=dict(run(connection, _RULES, [table.oid, placement.id]).fetchall()),
    )


def remembered(connection: Connection, schema: str, name: str) -> Shape | None:
    """The shape of the table at its enrolment; None: not enrolled, or by a version that did not keep it."""
    found = run(connection, "SELECT obj_description(to_regclass($1), 'pg_class')", [_keeper(schema, name)]).fetchone()
    try:
        kept = json.loads(found[0] if found and found[0] else "")
        return Shape(columns=kept["columns"], rules=kept["rules"])
    except (ValueError, KeyError, TypeError):
        return None


def to_remember(
    connection: Connection, table: Table | None, parts: tuple[str, str], collection: Collection, placement: Placement
) -> tuple[str, ...]:
    """The statement that keeps the shape of the table as it is or will be (None); none if that is kept already."""
    now = _new_shape(collection, placement) if table is None else read_shape(connection, table, placement)
    if table is not None and remembered(connection, *parts) == now:
        return ()
    text = json.dumps({"columns": dict(now.columns), "rules": dict(now.rules)}, ensure_ascii=False)
    return (f"COMMENT ON TABLE {_keeper(*parts)} IS {literal(text)}",)


def changes(before: Shape, now: Shape) -> Iterator[str]:
    """What an event that was right before may not fit any more; one phrase each."""
    for name, declared in now.columns.items():
        if name in before.columns and before.columns[name] != declared:
            yield f"column {name} was {before.columns[name]} and is {declared}"
    for name, definition in now.rules.items():
        if before.rules.get(name) != definition:
            yield f"{name} is new: {definition}"


def _new_shape(collection: Collection, placement: Placement) -> Shape:
    """That of the table that ``enrol`` makes."""
    types = {placement.id: collection.id_type, **dict.fromkeys(_metadata(placement), "jsonb")}
    return Shape(columns={name: f"{type_} NOT NULL" for name, type_ in types.items()}, rules={})


def _keeper(schema: str, name: str) -> str:
    return quote(schema, companion(name, "partitions"))


def _metadata(placement: Placement) -> tuple[str, ...]:
    return (placement.metadata,) if isinstance(placement.metadata, str) else placement.metadata
