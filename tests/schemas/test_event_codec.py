"""Events: encoded byte for byte as fastavro does, and decoded as columns, usual or not."""

from __future__ import annotations

import copy
from io import BytesIO

import fastavro
import numpy as np
import pytest
from event_bytes import (
    COLLECTION,
    ENCODER,
    EVENT_ID,
    ONE,
    THREE,
    TWO,
    D,
    blocks,
    decode,
    record,
    reference,
)
from hypothesis import given
from hypothesis import strategies as st
from vecferry.schemas.avro import encode_long, read_long
from vecferry.schemas.batch import Op
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.decode import EventDecoder
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import MAGIC
from vecferry.schemas.position import encode_position

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=100)
texts = st.text(max_size=300)


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


def test_a_batch_of_nothing() -> None:
    decoded = decode([], [])
    assert len(decoded.batch) == 0
    assert decoded.batch.vectors.shape == (0, D)


# -- what the columnar way does not take -----------------------------------------------------------------------------


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
