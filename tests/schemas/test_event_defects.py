"""Bytes that are no event: each defect is named, and nothing worse than a DecodeError comes of any bytes."""

from __future__ import annotations

import re
from io import BytesIO

import fastavro
import numpy as np
import pytest
from event_bytes import (
    HEADER,
    ONE,
    SPACE,
    THREE,
    TWO,
    D,
    blocks,
    decode,
    record,
    reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from vecferry.errors import DecodeError
from vecferry.schemas.avro import encode_long
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import MAX_RECORD_BYTES
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import MAGIC


def error_of(value: bytes | None, key: bytes | None = b"a") -> str:
    """The reason for one message, alone and in the middle of good ones: both ways must agree."""
    alone = decode([value], [key])
    assert len(alone.batch) == 0
    good = reference(record())
    among = decode([good, value, good], [b"a", key, b"a"])
    assert among.rows.tolist() == [0, 2]
    assert str(among.errors[1]) == str(alone.errors[0])
    return str(alone.errors[0])


GOOD = reference(record())


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (None, b"a", "null value"),
        (b"", b"a", "too few"),
        (b"\x00\x00\x00\x00\x01" + bytes(20), b"a", "starts with 00 00"),
        (MAGIC + bytes(8) + bytes(20), b"a", "fingerprint 0000000000000000 is not known"),
        (GOOD[:-1], b"a", "ends inside"),
        (GOOD[:-2], b"a", "wanted with|left"),
        (GOOD + b"\0", b"a", "1 bytes left behind"),
        (GOOD, b"b", "not the key"),
        (GOOD, None, "not the key"),
        (GOOD, b"", "not the key"),
        (reference(record(op="PATCH")), b"a", "PATCH is reserved"),
        (reference(record(vector=[1.0, 2.0])), b"a", "2 vector elements instead of 3"),
        (reference(record(vector=[])), b"a", "0 vector elements instead of 3"),
        (reference(record(op="DELETE")), b"a", "DELETE with 3 vector elements"),
        (reference(record(space=SPACE | {"version": "2"})), b"a", "space .*'version': '2'"),
        (reference(record(space=SPACE | {"dimension": 4}, vector=[0.0] * 4)), b"a", "space"),
        (reference(record(vector=[1.0, float("nan"), 1.0])), b"a", "element 1 is nan"),
        (reference(record(vector=[1.0, 1.0, float("-inf")])), b"a", "element 2 is -inf"),
        (reference(record(id="")), b"", "id of 0 bytes"),
        (reference(record(id="x" * 513)), b"x" * 513, "id of 513 bytes"),
        (reference(record(id="a\0b")), b"a\0b", "with NUL"),
        (reference(record(metadata="")), b"a", "no JSON object"),
        (reference(record(metadata="null")), b"a", "no JSON object"),
        (reference(record(metadata="{" + "x" * 262_143 + "}")), b"a", "metadata of 262145 bytes"),
        (
            reference(record(metadata='{"a":' + "[" * 100_000 + "]" * 100_000 + "}")),
            b"a",
            "nested deeper than 32 levels",
        ),
        (reference(record(source_text="x" * MAX_RECORD_BYTES)), b"a", "the limit is"),
        (GOOD.replace(b'{"k":1}', b'{"k\xff1}'), b"a", "not UTF-8"),
        (GOOD.replace(b"\x02a", b"\x02\xff", 1), b"\xff", "not UTF-8"),
        (HEADER + b"\x05" + GOOD[11:], b"a", "enum index -3"),
        (HEADER + b"\x06" + GOOD[11:], b"a", "enum index 3"),
        (HEADER + b"\xff" * 11, b"a", "wider than 64 bits"),
        (blocks(encode_long(2**40), ONE), b"a", "wanted with"),
        (blocks(encode_long(-(2**63)), encode_long(0), ONE), b"a", "wanted with"),
        (blocks(encode_long(-3), encode_long(11), ONE, TWO, THREE), b"a", "announced"),
    ],
)
def test_each_defect_is_named(value: bytes | None, key: bytes | None, reason: str) -> None:
    assert re.search(reason, error_of(value, key))


def test_an_unknown_union_branch_is_refused() -> None:
    head, tail = GOOD[: -(3 * 4 + 3)], GOOD[-(3 * 4 + 2) :]
    assert head + b"\0" + tail == GOOD
    for branch in (b"\x01", b"\x04"):  # fastavro would take -1 for the last branch
        assert "union index" in error_of(head + branch + tail)


def check_never_worse_than_an_error(values: list[bytes | None], keys: list[bytes | None]) -> None:
    decoded = decode(values, keys)
    assert sorted([*decoded.rows.tolist(), *decoded.errors]) == list(range(len(values)))
    assert len(decoded.batch) == len(decoded.rows)
    assert all(isinstance(error, DecodeError) for error in decoded.errors.values())
    assert decoded.batch.vectors.nbytes == len(decoded.rows) * D * 4


@settings(max_examples=3 * settings.default.max_examples)
@given(st.lists(st.tuples(st.binary(max_size=80), st.sampled_from([b"", HEADER, GOOD[:11], GOOD[:40]])), max_size=5))
def test_random_bytes_end_as_errors(parts: list[tuple[bytes, bytes]]) -> None:
    values: list[bytes | None] = [prefix + tail for tail, prefix in parts]
    check_never_worse_than_an_error([*values, GOOD], [b"a"] * (len(values) + 1))


@settings(max_examples=5 * settings.default.max_examples)
@given(
    st.integers(0, len(GOOD) - 1),
    st.integers(0, 255),
    st.integers(0, len(GOOD)),
    st.sampled_from([GOOD, reference(record(op="DELETE", vector=[])), reference(record(source_text="some text"))]),
)
def test_damaged_events_are_errors_or_agree_with_fastavro(at: int, byte: int, cut: int, event: bytes) -> None:
    damaged = bytearray(event)
    damaged[at % len(event)] = byte
    check_never_worse_than_an_error([event[:cut], bytes(damaged), event], [b"a"] * 3)
    decoded = decode([bytes(damaged)], [b"a"])
    if len(decoded.rows):
        seen = fastavro.schemaless_reader(BytesIO(bytes(damaged)[10:]), current("vector_event").schema, None)
        assert isinstance(seen, dict)
        assert decoded.batch.ids == [seen["id"]]
        assert decoded.batch.ops.tolist() == [Op[seen["op"]]]
        wanted = seen["vector"] if seen["op"] == "UPSERT" else [0.0] * D
        np.testing.assert_array_equal(decoded.batch.vectors, np.array([wanted], np.float32))
