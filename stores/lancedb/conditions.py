"""Portable filter conditions as Lance SQL.

A JSON metadata column is mirrored by ``vecferry_json``, which Lance holds as JSONB: ``json_extract`` gives the value of
a key as canonical JSON text, in which no scalar of one kind reads like one of another (text starts with a quote).
Typed metadata columns are compared as they are. Everything is exact, with one exception: JSONB keeps integers outside
64 bits as float64, so those equal each other when they are the same float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ...schemas.filters import Condition, Scalar

_EXACT_INTEGERS = 2**53  # below it no two integers share a float64
_JSONB_INTEGERS = range(-(2**63), 2**64)  # JSONB keeps other integers as float64


def text(value: str) -> str:
    """``value`` as a SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def column(name: str) -> str:
    """``name`` as a SQL identifier."""
    return "`" + name + "`"


def json_conditions(conditions: Sequence[Condition], json_column: str) -> list[str]:
    """One SQL predicate per condition, over a JSONB column."""
    return [_any_of(_json_value(json_column, c.field), c.values, _json_equals) for c in conditions]


def typed_conditions(conditions: Sequence[Condition], kinds: dict[str, type]) -> list[str]:
    """One SQL predicate per condition; ``kinds``: column name -> str, int, float or bool.

    A field without a column is missing in every row, and a value of another kind than its column equals nothing.
    """
    return [_typed(condition, kinds.get(condition.field)) for condition in conditions]


def _any_of(operand: str, values: Sequence[Scalar], equals: Callable[[str, Scalar], str]) -> str:
    return "(" + " OR ".join(equals(operand, value) for value in values) + ")"


def _json_value(json_column: str, key: str) -> str:
    return f"json_extract(json_get({column(json_column)}, {text(key)}), '$')"


def _json_equals(operand: str, value: Scalar) -> str:
    match value:
        case None:
            return f"coalesce({operand}, 'null') = 'null'"
        case bool():
            return f"{operand} = '{str(value).lower()}'"
        case str():
            return f"{operand} = {text(json.dumps(value, ensure_ascii=False))}"
        case _:
            return _json_number(operand, value)


def _json_number(operand: str, value: int | float) -> str:
    number = f"try_cast({operand} AS DOUBLE)"
    if abs(value) < _EXACT_INTEGERS:
        return _float_equals(number, float(value))
    forms = []
    if value == int(value) and int(value) in _JSONB_INTEGERS:
        forms.append(f"{operand} = '{int(value)}'")
    if _has_float(value):
        as_float = f"({operand} LIKE '%.%' OR {operand} LIKE '%e%')"
        forms.append(f"({as_float} AND {number} = {_double(float(value))})")
    return "(" + " OR ".join(forms or ["false"]) + ")"


def _has_float(value: int | float) -> bool:
    """True if a stored float64 can stand for ``value``: exactly, or because JSONB has no wider integer."""
    if isinstance(value, int) and value not in _JSONB_INTEGERS:
        return abs(value) < 10**308
    return float(value) == value


def _float_equals(operand: str, value: float) -> str:
    return f"{operand} = {_double(value)}"


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


def _typed(condition: Condition, kind: type | None) -> str:
    operand = column(condition.field)
    if kind is None:
        return "true" if None in condition.values else "false"
    return _any_of(operand, condition.values, lambda name, value: _typed_equals(name, value, kind))


def _typed_equals(operand: str, value: Scalar, kind: type) -> str:
    if value is None:
        return f"{operand} IS NULL"
    if isinstance(value, bool) or kind is bool:
        return f"{operand} = {str(value).lower()}" if isinstance(value, bool) and kind is bool else "false"
    if isinstance(value, str) or kind is str:
        return f"{operand} = {text(value)}" if isinstance(value, str) and kind is str else "false"
    if kind is float:
        return _float_equals(operand, float(value))
    return f"{operand} = {int(value)}" if value == int(value) and abs(value) < 2**63 else "false"
