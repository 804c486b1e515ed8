"""The types of the mapped columns, as publishers need them: read from the catalogue once, at enrolment."""

from __future__ import annotations

import re
from typing import Any

from ...schemas.collection import Placement
from ...schemas.fields import Field, RowFields, integer
from .connection import Connection, run

_VARCHAR_HEADER = 4  # atttypmod of varchar(n) is n + 4, and so is that of numeric
_SCALE = 0x7FF

# A domain is judged as its base type; what it demands besides, only the store knows.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.typname, b.typtype::text, e.typname, e.typtype::text,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, a.attnotnull OR t.typnotnull,
       pg_get_expr(d.adbin, d.adrelid),
       ARRAY(SELECT l.enumlabel FROM pg_enum l WHERE l.enumtypid = coalesce(e.oid, b.oid) ORDER BY l.enumsortorder)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
"""

# A literal, perhaps with casts: what a default is that has the same value for every row.
_CONSTANT = re.compile(r"""\(*('(?:[^']|'')*'|-?[\d.]+(?:e[+-]?\d+)?|true|false)\)*(::[\w ".\[\](),]+)*""")

_INTEGERS = {"int2": 16, "int4": 32, "int8": 64}
_KINDS = {
    **{
        "text": "text",
        "varchar": "text",
        "bpchar": "char",
        "float8": "float",
        "float4": "real",
        "bool": "bool",
        "uuid": "uuid",
    },
    **{"json": "jsonb", "jsonb": "jsonb", "date": "date"},  # a typed json column is written from jsonb
    **{"time": "time", "timestamp": "timestamp", "timestamptz": "timestamptz", "numeric": "numeric"},
}


def read_fields(connection: Connection, oid: int, placement: Placement) -> RowFields:
    """The fields of the table ``oid``, whose columns ``refusals`` found no problem with."""
    found = {row[0]: row[1:] for row in run(connection, _COLUMNS, [oid]).fetchall()}
    id_ = _field(*found[placement.id])
    if isinstance(placement.metadata, str):
        declared, name, *_ = found[placement.metadata]
        return RowFields(id=id_, document=Field(kind=name, declared=declared))
    return RowFields(id=id_, metadata={name: _with_default(connection, found[name]) for name in placement.metadata})


def _with_default(connection: Connection, facts: tuple[Any, ...]) -> Field:
    field, expression = _field(*facts), facts[-2]
    if not field.required or expression is None or not _CONSTANT.fullmatch(expression):
        return field
    row = run(connection, f"SELECT to_jsonb(CAST({expression} AS {field.declared}))").fetchone()
    return field.model_copy(update={"default": None if row is None else row[0]})


def _field(
    declared: str,
    name: str,
    type_: str,
    element: str | None,
    element_type: str | None,
    modifier: int,
    required: bool,
    expression: str | None,
    labels: list[str],
) -> Field:
    if element is not None:
        items = _judged(element, str(element_type), declared.removesuffix("[]"), modifier, labels)
        field = Field(kind="array", declared=declared, items=items)
    else:
        field = _judged(name, type_, declared, modifier, labels)
    return field.model_copy(update={"required": required})


def _judged(name: str, type_: str, declared: str, modifier: int, labels: list[str]) -> Field:
    if type_ == "e":
        return Field(kind="enum", declared=declared, labels=tuple(labels))
    if name in _INTEGERS:
        return integer(declared, _INTEGERS[name])
    field = Field(kind=_KINDS.get(name, name), declared=declared)
    if modifier < 0:
        return field
    match field.kind:
        case "text" | "char":
            return field.model_copy(update={"length": modifier - _VARCHAR_HEADER})
        case "numeric":
            # numeric.c, numeric_typmod_scale: eleven bits with a sign.
            bits = modifier - _VARCHAR_HEADER
            scale = ((bits & _SCALE) ^ 1024) - 1024
            return field.model_copy(update={"precision": bits >> 16 & 0xFFFF, "scale": scale})
        case "time" | "timestamp" | "timestamptz":
            return field.model_copy(update={"precision": modifier})
    return field
