"""What the publisher refuses, by field, and that what it accepts arrives unchanged."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.errors import InvalidRecord
from vecferry.producers.validation import Validator, rows_of
from vecferry.schemas.collection import Collection, IdType, Metric, Space
from vecferry.schemas.fields import Field, RowFields, integer

D = 4


def validator(metric: Metric = "cosine", id_type: IdType = "text", fields: frozenset[str] | None = None) -> Validator:
    space = Space(model="m", version="1", dimension=D, metric=metric)
    return Validator(Collection(name="c", space=space, partitions=1, id_type=id_type), fields)


def typed(*replicas: RowFields, id_type: IdType = "text") -> Validator:
    space = Space(model="m", version="1", dimension=D, metric="cosine")
    return Validator(Collection(name="c", space=space, partitions=1, id_type=id_type), None, replicas)


def refusal(call: Any, *arguments: Any) -> InvalidRecord:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a refused value must not also warn
        with pytest.raises(InvalidRecord) as refused:
            call(*arguments)
    assert refused.value.problem
    assert refused.value.remedy
    return refused.value


# -- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["a", "O'Brien; DROP TABLE x", '"quoted"', "🚢", "é" * 256, " ", "a\nb"])
def test_ids_are_carried_as_they_are(id_: str) -> None:
    assert validator().key(id_) == id_.encode()


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        ("", "takes 0 bytes"),
        ("x" * 513, "takes 513 bytes"),
        ("é" * 257, "takes 514 bytes"),
        ("a\0b", "NUL"),
        ("\ud800", "lone surrogate at 0"),
        (7, "int is not text"),
        (b"a", "bytes is not text"),
        (None, "NoneType is not text"),
    ],
)
def test_ids_that_cannot_be_carried_are_refused(id_: Any, reason: str) -> None:
    error = refusal(validator().key, id_)
    assert error.field == "id"
    assert reason in error.problem


@pytest.mark.parametrize("id_", ["0", "7", "-7", str(2**63 - 1), str(-(2**63))])
def test_canonical_bigints(id_: str) -> None:
    assert validator(id_type="bigint").key(id_) == id_.encode()


def test_an_id_of_a_typed_column_may_be_given_as_the_column_has_it() -> None:
    numbers, uuids = validator(id_type="bigint"), validator(id_type="uuid")
    assert numbers.key(7) == numbers.key(np.int64(7)) == b"7"
    assert uuids.key(UUID(int=7)) == str(UUID(int=7)).encode()
    assert validator().key(np.str_("a")) == b"a"
    for wrong in (True, 7.0, UUID(int=7), None):
        assert refusal(numbers.key, wrong).field == "id"
    assert refusal(numbers.key, 2**63).remedy == "use the id of a bigint column"
    assert refusal(uuids.key, 7).field == "id"


def test_an_id_that_its_column_has_no_room_for_is_refused() -> None:
    small = RowFields(id=integer("integer", 32))
    assert typed(small, id_type="bigint").key("2147483647") == b"2147483647"
    assert "integer" in refusal(typed(small, id_type="bigint").key, 2**31).problem
    short = RowFields(id=Field(kind="text", declared="character varying(3)", length=3))
    assert typed(short).key("abc") == b"abc"
    assert refusal(typed(short).key, "abcd").remedy == "shorten it"


@pytest.mark.parametrize(
    ("id_", "remedy"),
    [
        ("007", "use '7'"),
        ("+7", "use '7'"),
        (" 7", "use '7'"),
        ("-0", "use '0'"),
        ("1_000", "use '1000'"),
        ("٣", "use '3'"),
        (str(2**63), "bigint column"),
        ("seven", "bigint column"),
        ("1.0", "bigint column"),
    ],
)
def test_a_bigint_has_one_spelling(id_: str, remedy: str) -> None:
    assert remedy in refusal(validator(id_type="bigint").key, id_).remedy


def test_a_uuid_has_one_spelling() -> None:
    canonical = "12345678-9abc-def0-1234-56789abcdef0"
    check = validator(id_type="uuid").key
    assert check(canonical) == canonical.encode()
    for other in (canonical.upper(), canonical.replace("-", ""), "{" + canonical + "}", "urn:uuid:" + canonical):
        assert refusal(check, other).remedy == f"use {canonical!r}"
    assert "uuid column" in refusal(check, "nonsense").remedy


# -- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vector",
    [
        np.array([1, 2, 3, 4], np.float32),
        np.array([1, 2, 3, 4], np.float64),
        np.array([1, 2, 3, 4], np.float16),
        np.array([1, 2, 3, 4], ">f4"),
        np.array([1, 2, 3, 4], np.int64),
        np.arange(1, 9, dtype=np.float32).reshape(4, 2)[:, 0] // 2 + 1,
        np.array([1, 0, 2, 0, 3, 0, 4, 0], np.float32)[::2],
        [1, 2.0, 3, 4],
        (1, 2, 3, 4),
    ],
)
def test_real_numbers_of_any_kind_become_float32(vector: Any) -> None:
    array = validator().vector(vector)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.tobytes() == np.array([1, 2, 3, 4], "<f4").tobytes()


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([1.0, 2.0, 3.0], r"has shape (3,)"),
        ([], "has shape (0,)"),
        (1.0, "has shape ()"),
        (np.zeros((1, D), np.float32), "has shape (1, 4)"),
        ([1.0, float("nan"), 3.0, 4.0], "element 1 is nan"),
        ([1.0, 2.0, float("-inf"), 4.0], "element 2 is -inf"),
        (np.array([1.0, 2.0, 3.0, np.inf], np.float32), "element 3 is inf"),
        (np.array([1e300, 2.0, 3.0, 4.0]), "element 0 is inf as float32"),
        (["1", "2", "3", "4"], "elements of type <U1"),
        ([1j, 0, 0, 0], "elements of type complex"),
        ([True] * D, "elements of type bool"),
        ([None] * D, "elements of type object"),
        ([[1.0], [1.0, 2.0]], "is not an array"),
        (None, "elements of type object"),
        ([0.0] * D, "zero vector"),
        (np.full(D, 1e-30, np.float32), "too short"),
        (np.full(D, 1e30, np.float32), "too long"),
    ],
)
def test_vectors_that_mean_nothing_are_refused(vector: Any, reason: str) -> None:
    error = refusal(validator("cosine").vector, vector)
    assert error.field == "vector"
    assert reason in error.problem


@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize("vector", [[0.0] * D, [1e30] * D, [1e-30] * D])
def test_only_cosine_needs_a_direction(metric: Metric, vector: list[float]) -> None:
    assert validator(metric).vector(vector).tolist() == np.array(vector, np.float32).tolist()


@given(st.lists(st.floats(width=32), min_size=D, max_size=D), st.sampled_from(["cosine", "dot", "l2"]))
def test_one_vector_and_a_row_of_many_are_judged_alike(vector: list[float], metric: Metric) -> None:
    def verdict(call: Any, *arguments: Any) -> tuple[str, bytes]:
        try:
            return "", call(*arguments).tobytes()
        except InvalidRecord as error:
            return error.problem, b""

    array = np.array(vector, np.float32)
    good = np.ones(D, np.float32)
    one = verdict(validator(metric).vector, array)
    problem, data = verdict(validator(metric).vectors, np.stack([good, array]), 2)
    assert (problem, data[4 * D :]) == one
    assert bool(one[0]) or np.isfinite(array).all()


def test_a_bad_row_is_named() -> None:
    rows = np.ones((3, D))
    rows[2, 1] = np.nan
    assert refusal(validator().vectors, rows, 3).field == "vectors[2]"
    assert refusal(validator().vectors, rows, 2).field == "vectors"
    assert validator().vectors([], 0).shape == (0, D)


# -- metadata --------------------------------------------------------------------------------------------------------

floats = st.floats(allow_nan=False, allow_infinity=False)
# The two encoders spell small ones otherwise: 0.00001 and 1e-05.
scalars = st.none() | st.booleans() | st.integers() | floats.filter(lambda x: orjson.dumps(x) == repr(x).encode())
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    scalars | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(words, values, max_size=5))
def test_metadata_is_the_json_that_the_standard_encoder_writes(metadata: dict[str, Any]) -> None:
    text = validator().metadata(metadata)
    assert text == json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()
    assert json.loads(text) == metadata


@given(floats)
def test_a_float_in_metadata_stays_the_same_float(value: float) -> None:
    assert json.loads(validator().metadata({"a": value, "b": [value]})) == {"a": value, "b": [value]}


def test_no_metadata_is_an_empty_object() -> None:
    assert validator().metadata(None) == b"{}" == validator().metadata({})


@pytest.mark.parametrize(
    ("metadata", "field", "reason"),
    [
        ([], "metadata", "list is not a mapping"),
        ("{}", "metadata", "str is not a mapping"),
        ({1: "x"}, "metadata", "key 1 is int"),
        ({"a": {None: 1}}, "metadata.a", "key None is NoneType"),
        ({"a": b"x"}, "metadata.a", "bytes is not JSON"),
        ({"a": [1, {2}]}, "metadata.a[1]", "set is not JSON"),
        ({"a": np.longdouble(1)}, "metadata.a", "longdouble is not JSON"),
        ({"a": np.float32("nan")}, "metadata.a", "nan is not JSON"),
        ({"a": Decimal("NaN")}, "metadata.a", "NaN is not JSON"),
        ({"a": float("nan")}, "metadata.a", "nan is not JSON"),
        ({"a": [float("inf")]}, "metadata.a[0]", "inf is not JSON"),
        ({"a": "\ud800"}, "metadata", "is not JSON"),
        ({"a": "x\0"}, "metadata", "NUL"),
        ({"a": ["x\0"]}, "metadata", "NUL"),
        ({"x\0": 1}, "metadata", "NUL"),
        ({"a": 10**5000}, "metadata.a", "is not JSON"),
        ({"a": "x" * 262_144}, "metadata", "takes 262152 bytes"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused(metadata: Any, field: str, reason: str) -> None:
    error = refusal(validator().metadata, metadata)
    assert error.field == field
    assert reason in error.problem


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 31, 10, 30, tzinfo=UTC), '"2026-01-31T10:30:00+00:00"'),
        (datetime(2026, 1, 31, 10, 30), '"2026-01-31T10:30:00"'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (time(10, 30), '"10:30:00"'),
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+30"), "1E+30"),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (np.float32(0.5), "0.5"),
        (np.int8(-3), "-3"),
        (np.True_, "true"),
        (np.str_("x"), '"x"'),
        (np.datetime64("2026-01-31T10:30"), '"2026-01-31T10:30:00"'),
        (np.datetime64("2026-01"), '"2026-01-01"'),
        (np.datetime64("NaT"), "null"),
        (np.array([1, 2], np.int16), "[1,2]"),
        ((1, Decimal("1.0")), "[1,1.0]"),
        (
            [10**30, {"x": UUID(int=7)}],
            '[1000000000000000000000000000000,{"x":"00000000-0000-0000-0000-000000000007"}]',
        ),
    ],
    ids=repr,
)
def test_values_of_python_and_numpy_become_json(value: Any, text: str) -> None:
    assert validator().metadata({"a": value}) == f'{{"a":{text}}}'.encode()
    assert validator().metadata({"b": {"a": value}}) == f'{{"b":{{"a":{text}}}}}'.encode()


def test_nesting_has_an_end() -> None:
    nested: dict[str, Any] = {}
    nested["self"] = nested
    error = refusal(validator().metadata, nested)
    assert error.field == "metadata"
    assert "nested deeper" in error.problem


def test_an_escape_about_nul_is_not_nul() -> None:
    assert json.loads(validator().metadata({"a": "\\u0000"})) == {"a": "\\u0000"}


def test_only_the_fields_that_stores_hold() -> None:
    check = validator(fields=frozenset({"title", "section"}))
    assert check.metadata({"title": "x"}) == b'{"title":"x"}'
    error = refusal(check.metadata, {"title": "x", "colour": 1})
    assert "'colour'" in error.problem
    assert error.remedy == "the stores hold section, title"


def test_source_text() -> None:
    assert validator().text("é") == "é".encode()
    assert validator().text(None) is None
    assert refusal(validator().text, "\udfff").field == "source_text"
    assert refusal(validator().text, 5).field == "source_text"


def test_one_entry_per_row() -> None:
    assert rows_of("metadata", None, 2) == (None, None)
    assert rows_of("metadata", [{}, None], 2) == [{}, None]
    assert refusal(rows_of, "metadata", [{}], 2).problem == "1 entries for 2 ids"
    assert refusal(rows_of, "metadata", {"a": 1}, 1).problem == "dict for 1 ids"
