from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from vecferry.compare.uncarried import Cause, counted, uncarried
from vecferry.errors import InvalidRecord
from vecferry.schemas.batch import Rows
from vecferry.schemas.collection import MAX_RECORD_BYTES, Collection, IdType, Metric, Space
from vecferry.schemas.snapshot import encode_snapshot_blocks

DEEP = b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"


def collection(metric: Metric = "cosine", id_type: IdType = "text") -> Collection:
    space = Space(model="m", version="1", dimension=2, metric=metric)
    return Collection(name="products", space=space, partitions=1, id_type=id_type)


def rows(
    ids: Sequence[str] = ("a",),
    vectors: Sequence[Sequence[float]] | NDArray[np.float32] | None = None,
    metadata: Sequence[bytes] | None = None,
) -> Rows:
    n = len(ids)
    return Rows(
        ids=list(ids),
        positions=np.ones(n, np.int64),
        deleted=np.zeros(n, np.bool_),
        vectors=np.ones((n, 2), np.float32) if vectors is None else np.array(vectors, np.float32),
        metadata=[b"{}"] * n if metadata is None else list(metadata),
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b'{"price":NaN}', Cause.NOT_A_NUMBER),
        (b'{"price":-Infinity}', Cause.NOT_A_NUMBER),
        (b'{"price":1e999}', Cause.NOT_A_NUMBER),
        (b'{"price":NaN', Cause.NOT_JSON),
        (b"{", Cause.NOT_JSON),
        (b"", Cause.NOT_JSON),
        (b"null", Cause.NOT_JSON),
        (b"[1]", Cause.NOT_JSON),
        (b'{"a":"\xff"}', Cause.NOT_JSON),
        (b'{"a":"\\ud800"}', Cause.NOT_JSON),
        (DEEP, Cause.TOO_DEEP),
        (b'{"a":1,"a":2}', Cause.KEY_TWICE),
        (b'{"a" :1,"a" :2,"b":":","c":":"}', Cause.KEY_TWICE),
        (b'{"a":[{"b":1,"b":1}]}', Cause.KEY_TWICE),
        (b'{"a":1,"\\u0061":2}', Cause.KEY_TWICE),
        (b'{"a":"x\\u0000"}', Cause.NUL),
        (b'{"a":["x\\u0000"]}', Cause.NUL),
        (b'{"a":"%s"}' % (b"x" * MAX_RECORD_BYTES), Cause.TOO_LARGE),
        (b"{}", None),
        (b'{"a":"\\\\u0000","b":"12 :30","c":":","d":"\\":"}', None),
        (b'{"a" : {"b" : [1, {"c" : null}]}}', None),
        (b'{"n":123456789012345678901234567890}', None),
    ],
)
def test_metadata_that_the_log_cannot_carry_is_named(text: bytes, cause: Cause | None) -> None:
    found = uncarried(rows(["a", "b", "c"], metadata=[b'{"k":1}', text, b'{"k":2}']), collection())
    assert {row: obstacle.cause for row, obstacle in found.items()} == ({} if cause is None else {1: cause})


@pytest.mark.parametrize(
    ("vector", "metric", "cause"),
    [
        ([np.nan, 1], "l2", Cause.NOT_FINITE),
        ([np.inf, 1], "dot", Cause.NOT_FINITE),
        ([np.nan, np.nan], "l2", Cause.NO_VECTOR),
        ([0, 0], "cosine", Cause.NO_DIRECTION),
        ([1e-30, 0], "cosine", Cause.NO_DIRECTION),
        ([1e30, 0], "cosine", Cause.NO_DIRECTION),
        ([0, 0], "l2", None),
        ([1e30, 0], "dot", None),
        ([1e-15, 0], "cosine", None),
    ],
)
def test_a_vector_that_the_log_cannot_carry_is_named(vector: list[float], metric: Metric, cause: Cause | None) -> None:
    found = uncarried(rows(["a", "b"], [[1, 1], vector]), collection(metric))
    assert {row: obstacle.cause for row, obstacle in found.items()} == ({} if cause is None else {1: cause})


@pytest.mark.parametrize(
    ("id_", "id_type", "usable"),
    [
        ("", "text", False),
        ("x" * 513, "text", False),
        ("é" * 257, "text", False),
        ("é" * 256, "text", True),
        ("a\0b", "text", False),
        ("\ud800", "text", False),
        ("007", "bigint", False),
        ("-7", "bigint", True),
        ("9223372036854775808", "bigint", False),
        ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "uuid", True),
        ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "uuid", False),
    ],
)
def test_an_id_that_the_log_cannot_carry_is_named(id_: str, id_type: IdType, usable: bool) -> None:
    found = uncarried(rows([id_]), collection(id_type=id_type))
    assert {row: obstacle.cause for row, obstacle in found.items()} == ({} if usable else {0: Cause.ID})


def test_the_first_obstacle_of_a_row_counts_and_no_row_hides_another() -> None:
    found = uncarried(rows(["", "b", "c"], [[np.nan, 1], [0, 0], [1, 1]], [b"{", b"{", b"{"]), collection())
    assert [found[row].cause for row in range(3)] == [Cause.ID, Cause.NO_DIRECTION, Cause.NOT_JSON]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON text of these holds what the quick look goes by: colons, quotes, spaces, backslashes.
    | st.text('a:" \\', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a:" \\', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text('a:" \\', max_size=3), JSON, max_size=4), min_size=1, max_size=3), st.booleans()
)
def test_what_a_publisher_may_send_is_carried(documents: list[dict[str, object]], loose: bool) -> None:
    separators = (" , ", " : ") if loose else (",", ":")
    texts = [json.dumps(document, separators=separators).encode() for document in documents]
    found = rows([str(number) for number in range(len(texts))], metadata=texts)
    assert uncarried(found, collection()) == {}


@pytest.mark.parametrize("spare", [-400, -200, -64, 0, 64])
def test_what_is_carried_fits_into_a_message(spare: int) -> None:
    found = rows(metadata=[b'{"a":"%s"}' % (b"x" * (MAX_RECORD_BYTES - 100 + spare))])
    large = bool(uncarried(found, collection()))
    try:
        blocks = list(encode_snapshot_blocks(collection(), run="r1", chunk=3, generation=9, rows=found))
    except InvalidRecord:
        assert large
    else:
        assert all(len(block.value) <= MAX_RECORD_BYTES for block in blocks)
    assert large == (spare > -400)
    assert uncarried(found, collection(), 2 * MAX_RECORD_BYTES) == {}
    assert uncarried(rows(), collection(), 100).keys() == {0}


@pytest.mark.parametrize(
    "texts",
    [
        [b'{"a":1},{"b":2', b'"x":3}'],
        [b'{"a":1},{"b":2}', b""],
        [b'{"a":[{"b":1}', b'{"c":2}]}', b"{},{}"],
        [b'{"a":"x', b'y"}'],
        [b'{"a":1', b'{"b":1}'],
    ],
)
def test_broken_texts_are_not_taken_for_whole_ones_beside_each_other(texts: list[bytes]) -> None:
    assert uncarried(rows([str(number) for number in range(len(texts))], metadata=texts), collection()).keys() >= {0}


def test_causes_are_counted_the_most_frequent_first() -> None:
    assert counted({"b": 1, "a": 1, "c": 3}) == "3 x c, 1 x a, 1 x b"
