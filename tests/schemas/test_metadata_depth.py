"""How deep metadata may be nested: the same for whoever writes it, and cheap to know of any bytes."""

from __future__ import annotations

import json

import pytest
from event_bytes import COLLECTION, decode, record, reference
from hypothesis import given
from hypothesis import strategies as st
from vecferry.errors import InvalidRecord
from vecferry.producers.validation import Validator
from vecferry.schemas.collection import MAX_METADATA_BYTES, MAX_METADATA_DEPTH
from vecferry.schemas.columns import are_shallow

LEVELS = MAX_METADATA_DEPTH + 1  # the object itself is the first


def nested(levels: int) -> dict[str, object]:
    value: object = []
    for _ in range(levels - 2):
        value = [value]
    return {"a": value}


def accepted(metadata: dict[str, object]) -> bool:
    return not decode([reference(record(metadata=json.dumps(metadata)))], [b"a"]).errors


def test_publisher_and_decoder_draw_the_line_in_the_same_place() -> None:
    validator = Validator(COLLECTION, None)
    validator.metadata(nested(LEVELS))
    assert accepted(nested(LEVELS))
    with pytest.raises(InvalidRecord, match="nested deeper"):
        validator.metadata(nested(LEVELS + 1))
    assert not accepted(nested(LEVELS + 1))


@pytest.mark.parametrize(
    "metadata", [{"a": "[" * 500}, {"a": '"[{\\' * 99}, {"a\\": [{}] * 99}, {"[": "]" * 9, "{": 1}]
)
def test_brackets_in_texts_and_side_by_side_do_not_count(metadata: dict[str, object]) -> None:
    assert accepted(metadata)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\a'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\'), inner, max_size=3),
    max_leaves=12,
)


@given(JSON_VALUES, st.integers(0, 6))
def test_the_depth_is_that_of_the_value(value: object, levels: int) -> None:
    def depth(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert are_shallow([json.dumps(value).encode()], levels).tolist() == [depth(value) <= levels]


@pytest.mark.parametrize("piece", [b'"', b'"\\', b'\\"', b"[", b'["', b"{}"])
def test_no_text_takes_long(piece: bytes) -> None:
    text = b"{" * (LEVELS + 1) + piece * (MAX_METADATA_BYTES // len(piece))
    assert not are_shallow([text], LEVELS)[0]
