"""Snapshot blocks and markers: as fastavro would write them, split to size, and refused when damaged."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vecferry.errors import DecodeError, InvalidRecord
from vecferry.schemas.batch import Op, Rows
from vecferry.schemas.collection import MAX_RECORD_BYTES, Collection, Space
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import MAGIC
from vecferry.schemas.position import base_position
from vecferry.schemas.snapshot import (
    RUN_CLOSED,
    SnapshotBlock,
    SnapshotDecoder,
    SnapshotMarker,
    add_digests,
    encode_row,
    encode_snapshot_blocks,
    encode_snapshot_marker,
)

D = 2
COLLECTION = Collection(name="c", space=Space(model="m", version="1", dimension=D, metric="l2"), partitions=4)
DECODER = SnapshotDecoder(COLLECTION)
SPACE = {"model": "m", "version": "1", "dimension": D, "metric": "l2"}

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=200)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
one_row = st.tuples(texts, st.integers(1, 2**53 - 1), st.tuples(floats, floats), st.text(max_size=200))


def rows_of(items: list[tuple[str, int, tuple[float, float], str]]) -> Rows:
    return Rows(
        ids=[item[0] for item in items],
        positions=np.array([item[1] for item in items], np.int64),
        deleted=np.zeros(len(items), np.bool_),
        vectors=np.array([item[2] for item in items], np.float32).reshape(len(items), D),
        metadata=[item[3].encode() for item in items],
    )


def encode(rows: Rows, **options: Any) -> list[bytes]:
    blocks = encode_snapshot_blocks(COLLECTION, run="r-1", chunk=3, generation=2, rows=rows, **options)
    return [block.value for block in blocks]


def reference(**changes: Any) -> bytes:
    fields = {
        "space": SPACE,
        "run": "r-1",
        "chunk": 3,
        "generation": 2,
        "positions": (1).to_bytes(8, "little"),
        "ids": ["a"],
        "metadata": ["{}"],
        "vectors": np.array([1, 2], np.float32).tobytes(),
    }
    out = BytesIO()
    fastavro.schemaless_writer(out, current("snapshot_block").schema, fields | changes)
    return MAGIC + current("snapshot_block").fingerprint + out.getvalue()


def decode_block(value: bytes) -> SnapshotBlock:
    block = DECODER.decode(value, 3)
    assert isinstance(block, SnapshotBlock)
    return block


@given(st.lists(one_row, min_size=1, max_size=20))
def test_a_block_is_byte_identical_to_fastavro_and_comes_back(items: list[Any]) -> None:
    rows = rows_of(items)
    (value,) = encode(rows)
    assert value == reference(
        positions=rows.positions.astype("<i8").tobytes(),
        ids=rows.ids,
        metadata=[text.decode() for text in rows.metadata],
        vectors=rows.vectors.tobytes(),
    )
    block = decode_block(value)
    assert (block.run, block.chunk, block.generation, block.digest) == ("r-1", 3, 2, zlib.crc32(value))
    assert block.events.ids == rows.ids
    assert block.events.metadata == rows.metadata
    assert block.events.ops.tolist() == [Op.SNAPSHOT] * len(rows)
    assert block.events.partitions.tolist() == [3] * len(rows)
    np.testing.assert_array_equal(block.events.positions, rows.positions)
    assert block.events.vectors.tobytes() == rows.vectors.tobytes()


@given(st.lists(one_row, max_size=40), st.integers(1_000, 3_000))
def test_blocks_stay_below_the_limit_and_lose_nothing(items: list[Any], max_bytes: int) -> None:
    rows = rows_of(items)
    values = encode(rows, max_bytes=max_bytes + 700)
    assert all(len(value) <= max_bytes + 700 for value in values)
    blocks = [decode_block(value) for value in values]
    assert [id_ for block in blocks for id_ in block.events.ids] == rows.ids
    assert [p for block in blocks for p in block.events.positions.tolist()] == rows.positions.tolist()


@given(st.lists(st.lists(one_row, max_size=12), max_size=8))
def test_rows_that_come_in_pages_fill_the_same_messages_as_one_page(pages: list[list[Any]]) -> None:
    rows, max_bytes = rows_of([item for page in pages for item in page]), 1_700
    values: list[bytes] = []
    kept = rows_of([])
    for page in pages:
        kept = Rows.joined([kept, rows_of(page)])
        full = encode(kept, more=True, max_bytes=max_bytes)
        values += full
        kept = kept.since(sum(len(decode_block(value).events) for value in full))
        assert len(encode(kept, max_bytes=max_bytes)) <= 1  # what is kept never fills more than a message
    assert values + encode(kept, max_bytes=max_bytes) == encode(rows, max_bytes=max_bytes)


def test_a_large_page_fills_messages_up_to_kafkas_limit() -> None:
    rows = rows_of([(f"id-{i}", 1, (1.0, 2.0), "x" * 500) for i in range(5_000)])
    sizes = [len(value) for value in encode(rows)]
    assert max(sizes) <= MAX_RECORD_BYTES
    assert min(sizes[:-1]) > 0.98 * MAX_RECORD_BYTES


def test_base_positions_travel() -> None:
    value = encode(rows_of([("a", base_position(1), (0.0, 0.0), "{}")]))[0]
    assert decode_block(value).events.positions.tolist() == [base_position(1)]


def test_one_row_of_a_block_is_a_block_of_its_own() -> None:
    items = [(f"id-{i}", i + 1, (float(i), 0.5), f'{{"i":{i}}}') for i in range(5)]
    block = decode_block(encode(rows_of(items))[0])
    named = {"run": block.run, "chunk": block.chunk, "generation": block.generation}
    assert encode_row(COLLECTION, block.events, 3, **named) == encode(rows_of(items[3:4]))[0]


@given(
    st.builds(
        SnapshotMarker,
        run=st.text(),
        chunk=st.integers(-1, 2**31 - 1),
        generation=st.integers(0, 2**31 - 1),
        rows=st.integers(0, 2**62),
        digest=st.integers(0, 2**63 - 1),
        chunks=st.integers(0, 2**31 - 1),
    )
)
def test_markers_come_back(marker: SnapshotMarker) -> None:
    value = encode_snapshot_marker(marker)
    out = BytesIO()
    fields = {name: getattr(marker, name) for name in ("run", "chunk", "generation", "rows", "digest", "chunks")}
    fastavro.schemaless_writer(out, current("snapshot_marker").schema, fields)
    assert value == MAGIC + current("snapshot_marker").fingerprint + out.getvalue()
    assert DECODER.decode(value, 0) == marker


def test_digests_do_not_depend_on_order_and_stay_in_a_long() -> None:
    digests = [2**63 - 1, 5, 2**62]
    forward = backward = 0
    for left, right in zip(digests, reversed(digests), strict=True):
        forward, backward = add_digests(forward, left), add_digests(backward, right)
    assert forward == backward == (sum(digests)) % 2**63
    assert RUN_CLOSED == -1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null value"),
        (b"junk", "too few"),
        (MAGIC + bytes(30), "not known"),
        (reference()[:-1], "bytes left"),
        (reference() + b"\0", "1 bytes left behind"),
        (reference(space=SPACE | {"metric": "dot"}), "space"),
        (reference(ids=["a", "b"]), "2 ids with"),
        (reference(metadata=[]), "1 ids with"),
        (reference(positions=bytes(7)), "1 ids with"),
        (reference(vectors=bytes(4)), "1 ids with"),
        (reference(positions=bytes(8)), "positions from 0"),
        (reference(positions=(2**53).to_bytes(8, "little")), "positions from"),
        (reference(vectors=np.array([1, np.nan], np.float32).tobytes()), "not finite"),
        (reference(ids=[""]), "empty"),
        (reference(ids=["a\0"]), "NUL"),
        (reference(metadata=["zz"]).replace(b"zz", b"\xff\xff"), "metadata that is not UTF-8"),
        (reference(metadata=['{"a":' + "[" * 100_000 + "]" * 100_000 + "}"]), "nested deeper than 32 levels"),
        (reference(run="r" * MAX_RECORD_BYTES), "the limit is"),
    ],
)
def test_each_defect_is_named(value: bytes | None, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        DECODER.decode(value, 0)


@settings(max_examples=5 * settings.default.max_examples)
@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 200), st.binary(max_size=60), st.booleans())
def test_damaged_messages_raise_nothing_but_decode_errors(
    at: int, byte: int, cut: int, junk: bytes, marker: bool
) -> None:
    good = reference(ids=["a", "b"], metadata=["{}", "{}"], positions=b"\1" * 16, vectors=bytes(16))
    if marker:
        good = encode_snapshot_marker(SnapshotMarker(run="r", chunk=1, generation=1, rows=2, digest=3, chunks=4))
    damaged = bytearray(good)
    damaged[at % len(good)] = byte
    for value in (bytes(damaged), good[:cut], good[: min(cut, 30)] + junk, good[:10] + junk):
        try:
            DECODER.decode(value, 0)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        (rows_of([("a", 1, (1.0, float("nan")), "{}")]), "vector"),
        (rows_of([("a\0", 1, (1.0, 1.0), "{}")]), "id"),
        (rows_of([("", 1, (1.0, 1.0), "{}")]), "id"),
        (rows_of([("a", 1, (1.0, 1.0), "x" * MAX_RECORD_BYTES)]), "metadata"),
    ],
)
def test_rows_that_cannot_be_carried_are_refused_by_name(rows: Rows, field: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        encode(rows)
    assert refused.value.field == field
    assert repr(rows.ids[0]) in str(refused.value)
