from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.compare.content import filtered_difference, metadata_difference, within

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("left", "right", "keys"),
    [
        ('{"a":1,"b":2}', '{"b": 2.0, "a": 1}', ""),
        ('{"a":null}', "{}", ""),
        ('{"a":{"b":null}}', '{"a":{}}', "a"),
        ('{"a":true}', '{"a":1}', "a"),
        ('{"a":[true]}', '{"a":[1]}', "a"),
        ('{"a":9007199254740993}', '{"a":9007199254740992}', "a"),
        ('{"a":9007199254740993}', '{"a":9007199254740992.0}', "a"),
        ('{"a":"1"}', '{"a":1}', "a"),
        ('{"a":1,"b":2,"c":3}', '{"a":2,"b":2}', "a, c"),
        ('{"a":0.1}', '{"a":0.10000000000000001}', ""),
        ('{"a":[1,2]}', '{"a":[2,1]}', "a"),
        ('{"a":"é"}', '{"a":"\\u00e9"}', ""),
    ],
)
def test_metadata_is_compared_as_json_values(left: str, right: str, keys: str) -> None:
    assert metadata_difference(left.encode(), right.encode()) == keys
    assert metadata_difference(right.encode(), left.encode()) == keys


def test_metadata_that_is_no_object_differs() -> None:
    assert metadata_difference(b"[1]", b"{}")
    assert metadata_difference(b"{", b"{}")


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_metadata_equals_itself_however_it_is_written(document: dict[str, object]) -> None:
    shuffled = json.dumps(dict(reversed(document.items())), indent=1, ensure_ascii=False)
    assert metadata_difference(json.dumps(document).encode(), shuffled.encode()) == ""


def test_vectors_within_the_tolerance_are_equal_and_nan_is_not() -> None:
    left = np.array([[1, 2], [1, 2], [1, np.nan], [1, np.inf], [1, 2]], np.float32)
    right = np.array([[1, 2], [1, 2.0000005], [1, np.nan], [1, np.inf], [1, 2.00001]], np.float32)
    assert within(left, right, 1e-6).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e20])
def test_a_tolerance_is_a_share_of_the_vector_at_every_scale(scale: float) -> None:
    left = np.array([[1, 2], [0, 0], [1, 2]], np.float32) * np.float32(scale)
    right = np.array([[1, 2.000001], [0, 0.1], [2, 1]], np.float32) * np.float32(scale)
    assert within(left, right, 1e-6).tolist() == [True, False, False]
    assert within(left, right, 0.0).tolist() == [False, False, False]
    assert within(left, left, 0.0).all()


@pytest.mark.parametrize(
    ("metadata", "filtered", "keys"),
    [
        ('{"a":123456789012345678901234567890}', '{"a":1.2345678901234568e+29}', ""),
        ('{"a":9007199254740993}', '{"a":9007199254740993}', ""),
        ('{"a":9007199254740993}', '{"a":9007199254740992}', "a"),
        ('{"a":true}', '{"a":1}', "a"),
        ('{"b":1,"a":"é"}', '{"a": "\\u00e9", "b": 1.0}', ""),
        ("{}", '{"a":1}', "a"),
    ],
)
def test_filters_may_see_a_number_beyond_64_bits_rounded_and_nothing_else(
    metadata: str, filtered: str, keys: str
) -> None:
    assert filtered_difference(metadata.encode(), filtered.encode()) == keys
