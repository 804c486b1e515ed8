"""From the arguments of a call to records: one row, many rows, and what is refused."""

from __future__ import annotations

import json
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vecferry.errors import InvalidRecord
from vecferry.producers.records import Records, event_ids
from vecferry.schemas.collection import (
    MAX_DIMENSION,
    MAX_ID_BYTES,
    MAX_METADATA_BYTES,
    MAX_RECORD_BYTES,
    Collection,
    IdType,
    Metric,
    Space,
)
from vecferry.schemas.decode import EventDecoder

D = 5
ROW = np.arange(1, D + 1, dtype=np.float32)
LAST_IS_NAN = np.append(ROW[:-1], np.float32("nan"))
RANDOM = b"8 random"
NOW_S = 1_790_000_000.25
FIELDS = frozenset({"a", "é", ""})


def made(*, metric: Metric = "cosine", fields: frozenset[str] | None = None, id_type: IdType = "text") -> Records:
    """Records of which two with the same arguments give the same bytes."""
    space = Space(model="m", version="1", dimension=D, metric=metric)
    collection = Collection(name="c", space=space, partitions=1, id_type=id_type)
    return Records(collection, fields, lambda: NOW_S, event_ids(RANDOM))


def of_rows(records: Records, ids: Any, *columns: Any) -> list[tuple[bytes, bytes]]:
    """The records of all rows."""
    return list(records.upserts(ids, *columns))


def outcome(call: Any, *arguments: Any) -> Any:
    """What ``call`` returns, or how it refuses."""
    try:
        return call(*arguments)
    except InvalidRecord as refused:
        return refused.field, refused.problem, refused.remedy


numbers = st.floats(width=32) | st.sampled_from([0.0, 1e-23, 1e-16, 1e15, 3e38, float("nan"), float("inf")])
vectors = st.one_of(
    st.lists(numbers, min_size=D, max_size=D).map(lambda x: np.array(x, np.float32)),
    st.lists(numbers, min_size=D, max_size=D).map(lambda x: np.array(x, np.float64)),
    st.lists(numbers, min_size=2 * D, max_size=2 * D).map(lambda x: np.array(x, np.float32)[::2]),
    st.lists(numbers, min_size=D, max_size=D).map(lambda x: np.array(x, ">f4")),
    st.lists(numbers, min_size=0, max_size=2 * D).map(lambda x: np.array(x, np.float32)),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=D, max_size=D).map(lambda x: np.array(x, np.int32)),
    st.lists(numbers, min_size=D, max_size=D),
    st.sampled_from([None, b"\0" * 4 * D, ROW.reshape(1, D), ROW.reshape(D, 1)]),
    st.builds(lambda: memoryview(ROW)),
)
ids = st.text(max_size=40) | st.sampled_from(["x" * 512, "x" * 513, "é" * 256, "é" * 257, "a\0", "\ud800", 7, None])
scalars = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from(["\0", "\\u0000", "\ud800", b"x", 2**63, 2**64, -(2**63) - 1, np.float32(1), np.str_("x"), (1,)]),
)
metadata = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(["a", "é", "", "other", "\0", 1, np.str_("a")]), scalars, max_size=4),
    st.dictionaries(st.text(max_size=5), st.lists(scalars, max_size=2) | scalars, max_size=3),
    st.sampled_from([{"a": {"b": float("nan")}}, [], "text"]),
    st.builds(lambda: {"a": "x" * MAX_METADATA_BYTES}),
)
sources = st.none() | st.text(max_size=20)
settings = st.fixed_dictionaries(
    {"metric": st.sampled_from(["cosine", "l2"]), "fields": st.sampled_from([None, FIELDS])}
)


@given(settings, ids, vectors, metadata, sources)
@example({"metric": "cosine", "fields": None}, "a", ROW, {"a": "\\u0000"}, None)
@example({"metric": "cosine", "fields": None}, "a", ROW, {"a": "\0"}, None)
@example({"metric": "l2", "fields": FIELDS}, "a", ROW * 0, {"a": 1}, None)
@example({"metric": "cosine", "fields": FIELDS}, "a", ROW, {"other": 1}, None)
@example({"metric": "cosine", "fields": None}, "a", ROW, {"a": float("nan")}, None)
@example({"metric": "cosine", "fields": None}, "a", ROW, {"a": float("-inf")}, None)
@example({"metric": "cosine", "fields": None}, "a", LAST_IS_NAN, {"a": 1}, None)
@example({"metric": "cosine", "fields": None}, "a\0", ROW, {"a": 1}, None)
@example({"metric": "cosine", "fields": None}, "a", ROW.view(np.int32), {"a": 1}, None)
def test_a_row_alone_and_in_a_batch_is_the_same_record(
    settings: Any, id_: Any, vector: Any, values: Any, source: str | None
) -> None:
    alone = outcome(made(**settings).upsert, id_, vector, values, source)
    batch = outcome(of_rows, made(**settings), [id_], [vector], [values], [source])
    if isinstance(batch, list):
        assert batch == [alone]
    else:  # where several things are wrong, the batch may name another one
        assert isinstance(alone[0], str)


@given(settings, ids, vectors, metadata, sources)
def test_what_is_accepted_is_read_back(settings: Any, id_: Any, vector: Any, values: Any, source: str | None) -> None:
    record = outcome(made(**settings).upsert, id_, vector, values, source)
    if isinstance(record[0], str):
        return
    space = Space(model="m", version="1", dimension=D, metric=settings["metric"])
    key, value = record
    found = EventDecoder(Collection(name="c", space=space, partitions=1)).decode([value], [key], [0], [0])
    assert found.errors == {}
    assert found.batch.ids == [id_]
    assert found.batch.vectors[0].tolist() == np.asarray(vector).astype(np.float32).tolist()
    assert json.loads(found.batch.metadata[0]) == json.loads(json.dumps(values or {}, default=float))


def test_rows_of_one_array_are_the_rows_one_by_one() -> None:
    array = np.arange(4 * D, dtype=np.float32).reshape(4, D) + 1
    names, values = ["a", "é", "🚢", "x" * 512], [None, {}, {"a": 1.5}, {"b": "é" * 99}]
    one_by_one = made()
    expected = [one_by_one.upsert(*row, None) for row in zip(names, array, values, strict=True)]
    assert of_rows(made(), names, array, values, None) == expected
    assert of_rows(made(), tuple(names), array, tuple(values), None) == expected
    assert of_rows(made(), [], [], None, None) == []


@pytest.mark.parametrize("source", [None, "text"])
def test_rows_are_those_that_were_checked_whatever_becomes_of_the_lists(source: str | None) -> None:
    names, values, texts = ["a", "b"], [{"a": 1}, {"a": 2}], None if source is None else [source, source]
    expected = of_rows(made(), names, np.stack([ROW, ROW]), values, texts)
    rows = made().upserts(names, np.stack([ROW, ROW]), values, texts)
    names.append("c")
    values.clear()
    assert list(rows) == expected


def test_vectors_at_an_odd_address_are_taken() -> None:
    odd = np.frombuffer(b"x" + ROW.tobytes(), np.float32, offset=1)
    assert not odd.flags.aligned
    expected = made().upsert("a", ROW, None, None)
    assert made().upsert("a", odd, None, None) == expected
    assert of_rows(made(), ["a"], odd.reshape(1, D), None, None) == [expected]


def test_an_id_that_has_a_form_is_held_to_it() -> None:
    records = made(id_type="bigint")
    assert records.upsert("7", ROW, None, None)[0] == b"7"
    with pytest.raises(InvalidRecord, match="canonical"):
        records.upsert("07", ROW, None, None)
    with pytest.raises(InvalidRecord, match="canonical"):
        records.upserts(["07"], ROW[None], None, None)


def test_without_a_source_text_no_row_is_too_large() -> None:
    """``upserts`` does not look at the sizes of such rows."""
    lengths = 100  # of everything else, with room to spare
    assert 4 * MAX_DIMENSION + MAX_METADATA_BYTES + 2 * MAX_ID_BYTES + lengths < MAX_RECORD_BYTES


def test_nothing_of_a_call_is_kept() -> None:
    records = made()
    arguments = [("an id", ROW, {"a": "text"}), ("an id", ROW * np.float32("nan"), {"a": 1}), ("", ROW, {"a": ()})]

    def publish() -> None:
        for id_, vector, values in arguments:
            outcome(records.upsert, id_, vector, values, None)
            outcome(of_rows, records, [id_, id_], np.stack([vector, vector]), [values, values], None)

    publish()
    before = [[sys.getrefcount(part) for part in row] for row in arguments]
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            publish()
        grown = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    assert [[sys.getrefcount(part) for part in row] for row in arguments] == before
    assert grown < 50_000  # 500 records kept would be more


def test_threads_share_the_records_of_a_publisher() -> None:
    records = made()
    found: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda name=name: found.extend(records.upsert(name, ROW, {"a": name}, None)[1] for _ in range(2_000))
        )
        for name in ("one", "two", "three")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(found) == 6_000  # every event id once
    assert all(sum(name in value for name in (b"one", b"two", b"three")) == 1 for value in found)
