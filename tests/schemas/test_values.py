"""How a value is spelled for a column, and which ones no column of that type can ever hold."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.errors import InvalidRecord
from vecferry.schemas.fields import Field, RowFields, integer
from vecferry.schemas.plain import encode
from vecferry.schemas.spelling import Spelling

MONEY = Field(kind="numeric", declared="numeric(10,2)", precision=10, scale=2)
NUMERIC = Field(kind="numeric", declared="numeric")
INT = integer("integer", 32)
DOUBLE = Field(kind="float", declared="double precision")
SINGLE = Field(kind="float", declared="float", bits=32)
REAL = Field(kind="real", declared="real")
INSTANT = Field(kind="timestamptz", declared="timestamp with time zone")
MILLIS = Field(kind="timestamptz", declared="timestamp(3) with time zone", precision=3)
LOCAL = Field(kind="timestamp", declared="timestamp without time zone")
DAY = Field(kind="date", declared="date")
TIME = Field(kind="time", declared="time without time zone")
CODE = Field(kind="uuid", declared="uuid")
SHORT = Field(kind="text", declared="character varying(5)", length=5)
YES = Field(kind="bool", declared="boolean")
STATE = Field(kind="enum", declared="state", labels=("new", "old"))
TAGS = Field(kind="array", declared="text[]", items=Field(kind="text", declared="text"))
DOCUMENT = Field(kind="jsonb", declared="jsonb")
UNKNOWN = Field(kind="interval", declared="interval")


def spelled(field: Field, value: Any) -> str:
    """The JSON text of ``value`` as the column gives it back."""
    row = Spelling([RowFields(metadata={"x": field})]).row({"x": value})
    return encode(row).decode().removeprefix('{"x":').removesuffix("}")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (INSTANT, "2026-01-01T10:00:00Z", '"2026-01-01T10:00:00+00:00"'),
        (INSTANT, "2026-01-01 12:00:00.500+02", '"2026-01-01T10:00:00.5+00:00"'),
        (INSTANT, "2026-01-01T10:00:00.1234567+00:00", '"2026-01-01T10:00:00.123457+00:00"'),
        (INSTANT, datetime(2026, 1, 1, 10, tzinfo=UTC), '"2026-01-01T10:00:00+00:00"'),
        (INSTANT, datetime(2026, 1, 1, 10, tzinfo=timezone(timedelta(hours=-5))), '"2026-01-01T15:00:00+00:00"'),
        (INSTANT, "infinity", '"infinity"'),
        (INSTANT, "12026-01-01T10:00:00+00:00", '"12026-01-01T10:00:00+00:00"'),
        (MILLIS, datetime(2026, 1, 1, 10, 0, 59, 999_500, tzinfo=UTC), '"2026-01-01T10:01:00+00:00"'),
        (MILLIS, "2026-01-01T10:00:00.1234Z", '"2026-01-01T10:00:00.123+00:00"'),
        (LOCAL, "2026-01-01T10:00:00Z", '"2026-01-01T10:00:00"'),
        (LOCAL, "2026-01-01", '"2026-01-01T00:00:00"'),
        (LOCAL, np.datetime64("2026-01-01T10:00:00.123456789"), '"2026-01-01T10:00:00.123456"'),
        (DAY, date(2026, 1, 31), '"2026-01-31"'),
        (DAY, np.datetime64("2026-01-31"), '"2026-01-31"'),
        (TIME, time(1, 2, 3, 500_000), '"01:02:03.5"'),
        (TIME, "10:30", '"10:30:00"'),
        (MONEY, "12.50", "12.50"),
        (MONEY, 0.1 + 0.2, "0.30"),
        (MONEY, 3, "3.00"),
        (MONEY, Decimal("1.005"), "1.01"),
        (MONEY, -0.0, "0.00"),
        (MONEY, np.float32(0.1), "0.10"),
        (NUMERIC, 1e23, "100000000000000000000000"),
        (NUMERIC, 2**80, str(2**80)),
        (NUMERIC, 0.1 + 0.2, "0.30000000000000004"),
        (NUMERIC, "NaN", '"NaN"'),
        (INT, 3.0, "3"),
        (INT, "3", "3"),
        (INT, Decimal("3.00"), "3"),
        (INT, np.uint8(3), "3"),
        (integer("bigint", 64), 2**60 + 1, str(2**60 + 1)),
        (DOUBLE, 1e23, "9.999999999999999E+22"),
        (DOUBLE, 2**60, "1.152921504606847e+18"),
        (DOUBLE, "0.1", "0.1"),
        (DOUBLE, -0.0, "0.0"),
        (DOUBLE, 7, "7"),
        (SINGLE, 0.1, "0.10000000149011612"),
        (REAL, 0.1 + 0.2, "0.3"),
        (CODE, UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (CODE, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
        (SHORT, "abcde", '"abcde"'),
        (SHORT, Decimal("1E+2"), '"100"'),
        (YES, np.False_, "false"),
        (STATE, "old", '"old"'),
        (TAGS, ("a", None), '["a",null]'),
        (TAGS, np.array(["a"]), '["a"]'),
        (TAGS, [["a"], ["b"]], '[["a"],["b"]]'),
        (TAGS, [], "[]"),
        (DOCUMENT, {"a": [1e23, 1, 2.5]}, '{"a":[100000000000000000000000.0,1,2.5]}'),
        (DOCUMENT, {"a": date(2026, 1, 31)}, '{"a":"2026-01-31"}'),
        (UNKNOWN, "1 day", '"1 day"'),
    ],
    ids=repr,
)
def test_a_value_is_spelled_as_its_column_gives_it_back(field: Field, value: Any, text: str) -> None:
    assert spelled(field, value) == text
    again = json.loads(text, parse_float=Decimal)
    assert json.loads(spelled(field, again)) == json.loads(text)  # a spelling that is given is kept


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        (INSTANT, "2026-01-01T10:00:00", "say the zone"),
        (INSTANT, datetime(2026, 1, 1), "say the zone"),
        (INSTANT, date(2026, 1, 1), "say the zone"),
        (INSTANT, "2026-02-30T10:00:00Z", "exist"),
        (INSTANT, "yesterday", "text like"),
        (INSTANT, 1_790_000_000, "pass a datetime"),
        (INSTANT, datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), "year"),
        (LOCAL, "2026-01-01T10:00:00+02:00", "convert it to UTC"),
        (DAY, datetime(2026, 1, 1), "date()"),
        (DAY, "2026-1-1", "2026-01-31"),
        (TIME, time(1, tzinfo=UTC), "without a zone"),
        (TIME, "25:00", "exist"),
        (MONEY, 10**8, "8 digits"),
        (MONEY, 99_999_999.995, "8 digits"),
        (MONEY, True, "int(value)"),
        (MONEY, "12,50", "Decimal"),
        (MONEY, "NaN", "Decimal"),
        (NUMERIC, float("nan"), "Decimal"),
        (NUMERIC, Decimal("1e9999"), "Decimal"),
        (INT, 3.5, "round it"),
        (INT, 2**31, "-2147483648 to 2147483647"),
        (INT, Decimal("1e300"), "-2147483648 to 2147483647"),
        (integer("bigint", 64), float(2**60), "pass int(value)"),
        (INT, True, "int(value)"),
        (INT, [1], "pass an int"),
        (DOUBLE, 2**60 + 1, "float(value)"),
        (DOUBLE, 2**53 + 1, "float(value)"),
        (DOUBLE, 10**400, "1.8e308"),
        (DOUBLE, float("inf"), "pass a number"),
        (DOUBLE, False, "int(value)"),
        (SINGLE, 1e39, "3.4e38"),
        (CODE, "no", "UUID"),
        (CODE, 7, "UUID"),
        (SHORT, "abcdef", "shorten"),
        (SHORT, "abcde ", "shorten"),
        (SHORT, 5, "str(value)"),
        (SHORT, b"abc", "str(value)"),
        (YES, 1, "True or False"),
        (YES, "true", "True or False"),
        (STATE, "gone", "new, old"),
        (STATE, 1, "new, old"),
        (TAGS, "a", "list"),
        (TAGS, [1], "str(value)"),
        (TAGS, [["a"], []], "one length"),
        (TAGS, [[]], "one length"),
        (DOCUMENT, {"a": b"x"}, "base64"),
        (UNKNOWN, timedelta(days=1), "use text"),
    ],
    ids=repr,
)
def test_what_no_spelling_makes_fit_is_refused_by_name_with_a_remedy(field: Field, value: Any, remedy: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        spelled(field, value)
    assert refused.value.field.startswith("metadata.x")
    assert refused.value.problem
    assert remedy in refused.value.remedy


def test_all_replicas_must_give_the_value_back() -> None:
    both = Spelling([RowFields(metadata={"x": MONEY}), RowFields(metadata={"x": DOUBLE})])
    assert json.loads(encode(both.row({"x": "12.5"}))) == {"x": 12.5}
    with pytest.raises(InvalidRecord, match="boolean"):
        Spelling([RowFields(metadata={"x": MONEY}), RowFields(metadata={"x": YES})]).row({"x": 1})
    apart = Spelling([RowFields(metadata={"x": REAL}), RowFields(metadata={"x": SINGLE})])
    assert encode(apart.row({"x": 0.5})) == b'{"x":0.5}'
    with pytest.raises(InvalidRecord, match="does not come back alike from real and float"):
        apart.row({"x": 0.1})


def test_a_required_column_that_is_omitted_gets_its_constant_default_or_is_refused() -> None:
    stock = INT.model_copy(update={"required": True, "default": 0})
    born = INSTANT.model_copy(update={"required": True})
    assert Spelling([RowFields(metadata={"stock": stock})]).row({"title": None}) == {"title": None, "stock": 0}
    assert Spelling([RowFields(metadata={"stock": stock})]).row({"stock": None}) == {"stock": 0}
    with pytest.raises(InvalidRecord, match="may not be null; give it a value"):
        Spelling([RowFields(metadata={"born": born})]).row({})


def test_nothing_is_asked_where_nothing_is_known_and_nothing_is_copied_where_nothing_changes() -> None:
    assert not Spelling([])
    assert not Spelling([RowFields(document=Field(kind="json", declared="JSON text"))])
    row = {"stock": 3, "title": None}
    assert Spelling([RowFields(metadata={"stock": INT, "title": SHORT})]).row(row) is row


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_stays_the_same_float(value: float) -> None:
    assert float(spelled(DOUBLE, value)) == value
    assert float(spelled(DOCUMENT, value)) == value
    assert float(spelled(NUMERIC, value)) == value
