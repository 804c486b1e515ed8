"""Events: encoded byte for byte as fastavro does, decoded as columns, and never a surprise from hostile bytes."""

from __future__ import annotations

import copy
import re
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vecferry.errors import DecodeError
from vecferry.schemas.avro import encode_long, read_long
from vecferry.schemas.batch import Op
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import MAX_RECORD_BYTES, Collection, Space
from vecferry.schemas.decode import Decoded, EventDecoder
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import MAGIC
from vecferry.schemas.position import encode_position

D = 3
COLLECTION = Collection(
    name="products", space=Space(model="mini", version="1", dimension=D, metric="cosine"), partitions=4, epoch=7
)
SPACE = {"model": "mini", "version": "1", "dimension": D, "metric": "cosine"}
HEADER = MAGIC + current("vector_event").fingerprint
EVENT_ID = bytes(range(16))
ENCODER = EventEncoder(COLLECTION)
DECODER = EventDecoder(COLLECTION)

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=100)
texts = st.text(max_size=300)


def record(**changes: Any) -> dict[str, Any]:
    base = {
        "op": "UPSERT",
        "space": SPACE,
        "event_id": EVENT_ID,
        "occurred_at": 1_790_000_000_000,
        "id": "a",
        "metadata": '{"k":1}',
        "source_text": None,
        "vector": [1.0, 2.0, 3.0],
    }
    return base | changes


def reference(event: dict[str, Any], schema: Any = None) -> bytes:
    """fastavro's bytes for an event, header included."""
    out = BytesIO()
    fastavro.schemaless_writer(out, current("vector_event").schema if schema is None else schema, event)
    return HEADER + out.getvalue()


def decode(values: list[bytes | None], keys: list[bytes | None], decoder: EventDecoder = DECODER) -> Decoded:
    n = len(values)
    return decoder.decode(values, keys, np.arange(n, dtype=np.int32) % 4, np.arange(n, dtype=np.int64) + 10)


def error_of(value: bytes | None, key: bytes | None = b"a") -> str:
    """The reason for one message, alone and in the middle of good ones: both ways must agree."""
    alone = decode([value], [key])
    assert len(alone.batch) == 0
    good = reference(record())
    among = decode([good, value, good], [b"a", key, b"a"])
    assert among.rows.tolist() == [0, 2]
    assert str(among.errors[1]) == str(alone.errors[0])
    return str(alone.errors[0])


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_survive_and_equal_fastavro(value: int) -> None:
    out = BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    assert encode_long(value) == out.getvalue()
    assert read_long(b"x" + encode_long(value), 1) == (value, 1 + len(out.getvalue()))


@given(ids, texts, st.none() | texts, st.lists(floats, min_size=D, max_size=D), st.integers(-(2**40), 2**45))
def test_an_upsert_is_byte_identical_to_fastavro(
    id_: str, metadata: str, source_text: str | None, vector: list[float], occurred_at: int
) -> None:
    ours = ENCODER.upsert(
        id_.encode(),
        np.array(vector, np.float32),
        metadata.encode(),
        event_id=EVENT_ID,
        occurred_at_ms=occurred_at,
        source_text=None if source_text is None else source_text.encode(),
    )
    event = record(id=id_, metadata=metadata, source_text=source_text, vector=vector, occurred_at=occurred_at)
    assert ours == reference(event)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_any_dimension_is_byte_identical_to_fastavro(dimension: int, seed: int) -> None:
    space = Space(model="m", version="é", dimension=dimension, metric="l2")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    ours = EventEncoder(Collection(name="c", space=space, partitions=1)).upsert(
        b"a", vector, b"{}", event_id=EVENT_ID, occurred_at_ms=0
    )
    as_record = {"model": "m", "version": "é", "dimension": dimension, "metric": "l2"}
    assert ours == reference(record(space=as_record, metadata="{}", occurred_at=0, vector=vector.tolist()))


@given(ids, st.integers(0, 2**45))
def test_a_delete_is_byte_identical_to_fastavro(id_: str, occurred_at: int) -> None:
    ours = ENCODER.delete(id_.encode(), event_id=EVENT_ID, occurred_at_ms=occurred_at)
    assert ours == reference(record(op="DELETE", id=id_, metadata="{}", vector=[], occurred_at=occurred_at))


events = st.lists(
    st.tuples(
        ids, st.booleans(), texts, st.none() | texts, st.lists(floats, min_size=D, max_size=D), st.integers(0, 2**62)
    ),
    max_size=12,
)


@given(events)
def test_a_batch_comes_back_column_by_column(batch: list[tuple[str, bool, str, str | None, list[float], int]]) -> None:
    values, keys = [], []
    for id_, delete, text, source_text, vector, occurred_at in batch:
        metadata = "{" + text + "}"
        event = record(id=id_, metadata=metadata, source_text=source_text, vector=vector, occurred_at=occurred_at)
        values.append(reference(event | ({"op": "DELETE", "vector": []} if delete else {})))
        keys.append(id_.encode())
    decoded = decode(values, keys)
    assert decoded.errors == {}
    n = len(batch)
    assert decoded.rows.tolist() == list(range(n))
    got = decoded.batch
    assert got.ids == [event[0] for event in batch]
    assert got.ops.tolist() == [Op.DELETE if event[1] else Op.UPSERT for event in batch]
    assert got.partitions.tolist() == [i % 4 for i in range(n)]
    assert got.positions.tolist() == [encode_position(7, 10 + i) for i in range(n)]
    assert got.metadata == [b"" if event[1] else ("{" + event[2] + "}").encode() for event in batch]
    expected = np.array([[0.0] * D if event[1] else event[4] for event in batch], np.float32).reshape(n, D)
    np.testing.assert_array_equal(got.vectors, expected)
    assert (got.ops.dtype, got.partitions.dtype, got.positions.dtype) == (np.int8, np.int32, np.int64)
    assert got.vectors.dtype == np.float32
    assert got.vectors.flags.c_contiguous
    assert got.vectors.shape == (n, D)


def test_float32_survives_bit_by_bit() -> None:
    vector = np.array([1e-45, -0.0, np.finfo(np.float32).max], np.float32)
    value = ENCODER.upsert(b"a", vector, b"{}", event_id=EVENT_ID, occurred_at_ms=0)
    assert decode([value], [b"a"]).batch.vectors.tobytes() == vector.tobytes()


# -- what the columnar way does not take -----------------------------------------------------------------------------


def blocks(*parts: bytes) -> bytes:
    """An event whose vector array is made of these blocks."""
    whole = reference(record(vector=[]))
    return whole[:-1] + b"".join(parts) + b"\0"


ONE, TWO, THREE = (np.float32(x).tobytes() for x in (1, 2, 3))


@pytest.mark.parametrize(
    "value",
    [
        blocks(encode_long(1), ONE, encode_long(2), TWO, THREE),
        blocks(encode_long(-3), encode_long(12), ONE, TWO, THREE),
        blocks(encode_long(-2), encode_long(8), ONE, TWO, encode_long(1), THREE),
        blocks(b"\x86\x00", ONE, TWO, THREE),  # the count in two bytes where one would do
        reference(record(metadata=' {"k":1}\n')),
    ],
)
def test_unusual_but_legal_events_are_decoded_like_usual_ones(value: bytes) -> None:
    decoded = decode([reference(record()), value, reference(record())], [b"a", b"a", b"a"])
    assert decoded.errors == {}
    np.testing.assert_array_equal(decoded.batch.vectors, [[1, 2, 3]] * 3)
    assert decoded.batch.ids == ["a"] * 3
    assert [text.strip() for text in decoded.batch.metadata] == [b'{"k":1}'] * 3
    assert decoded.batch.positions.tolist() == [encode_position(7, offset) for offset in (10, 11, 12)]


def test_other_writers_are_resolved_once_registered() -> None:
    older = copy.deepcopy(current("vector_event").schema)
    del older["fields"][6]  # before source_text existed
    newer = copy.deepcopy(current("vector_event").schema)
    newer["fields"].insert(3, {"name": "tenant", "type": "string"})
    newer["fields"][-1]["type"]["items"] = "float"
    decoder = EventDecoder(COLLECTION, extra_writers=[older, newer])
    values: list[bytes | None] = []
    for schema in (older, newer):
        out = BytesIO()
        event = record(tenant="t")
        fastavro.schemaless_writer(out, schema, event)
        parsed = fastavro.parse_schema(schema)
        canonical = fastavro.schema.to_parsing_canonical_form(parsed)
        fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        values.append(MAGIC + fingerprint + out.getvalue())
    values.append(reference(record()))
    decoded = decode(values, [b"a"] * 3, decoder)
    assert decoded.errors == {}
    np.testing.assert_array_equal(decoded.batch.vectors, [[1, 2, 3]] * 3)
    assert decoded.batch.metadata == [b'{"k":1}'] * 3
    unknown = decode(values, [b"a"] * 3)
    assert unknown.rows.tolist() == [2]
    assert "is not known" in str(unknown.errors[0])


# -- what is refused -------------------------------------------------------------------------------------------------

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


@settings(max_examples=300)
@given(st.lists(st.tuples(st.binary(max_size=80), st.sampled_from([b"", HEADER, GOOD[:11], GOOD[:40]])), max_size=5))
def test_random_bytes_end_as_errors(parts: list[tuple[bytes, bytes]]) -> None:
    values: list[bytes | None] = [prefix + tail for tail, prefix in parts]
    check_never_worse_than_an_error([*values, GOOD], [b"a"] * (len(values) + 1))


@settings(max_examples=500)
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


def test_a_batch_of_nothing() -> None:
    decoded = decode([], [])
    assert len(decoded.batch) == 0
    assert decoded.batch.vectors.shape == (0, D)
