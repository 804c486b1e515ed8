"""Records made by the compiled encoder and by the Python code: the same bytes, the same refusals."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vecferry.errors import InvalidRecord
from vecferry.producers.records import Records, event_ids, plain_encoder
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

D = 5  # not a multiple of the lanes in which the compiled code adds
ROW = np.arange(1, D + 1, dtype=np.float32)
LAST_IS_NAN = np.append(ROW[:-1], np.float32("nan"))
RANDOM = b"8 random"
NOW_S = 1_790_000_000.25
FIELDS = frozenset({"a", "é", ""})


def made(
    *, compiled: bool, metric: Metric = "cosine", fields: frozenset[str] | None = None, id_type: IdType = "text"
) -> Records:
    """Records of which two with the same arguments give the same bytes."""
    space = Space(model="m", version="1", dimension=D, metric=metric)
    collection = Collection(name="c", space=space, partitions=1, id_type=id_type)
    plain = plain_encoder(collection, fields, RANDOM) if compiled else None
    return Records(collection, fields, lambda: NOW_S, event_ids(RANDOM), plain)


def of_rows(records: Records, ids: Any, *columns: Any) -> list[tuple[bytes, bytes]]:
    """The records of all rows."""
    return list(records.upserts(ids, *columns).records(0, len(ids)))


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


def test_the_compiled_encoder_is_there_where_a_compiler_is() -> None:
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if compiler and headers.exists():
        space = Space(model="m", version="1", dimension=D, metric="cosine")
        plain = plain_encoder(Collection(name="c", space=space, partitions=1), None, RANDOM)
        assert plain is not None
        assert plain.upsert("a", ROW, {"a": 1, "b": 0.5, "c": None, "d": True, "e": "é"}, 0.0) is not None


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
def test_one_row(settings: Any, id_: Any, vector: Any, values: Any, source: str | None) -> None:
    compiled, plain = (made(compiled=way, **settings) for way in (True, False))
    assert outcome(compiled.upsert, id_, vector, values, source) == outcome(plain.upsert, id_, vector, values, source)


@given(settings, st.lists(st.tuples(ids, vectors, metadata), max_size=3), st.sampled_from([None, "x", "\ud800"]))
def test_many_rows(settings: Any, rows: Any, source: str | None) -> None:
    arguments = [[row[column] for row in rows] for column in range(3)]
    texts = None if source is None else [source] * len(rows)
    compiled, plain = (made(compiled=way, **settings) for way in (True, False))
    assert outcome(of_rows, compiled, *arguments, texts) == outcome(of_rows, plain, *arguments, texts)


@pytest.mark.parametrize("size", [1, 63, 64, 127, 128, 512, 8_120, 8_128, 8_191, 8_192, 200_000])
def test_lengths_at_the_edges_of_the_number_format(size: int) -> None:
    compiled, plain = made(compiled=True), made(compiled=False)
    id_ = "x" * min(size, MAX_ID_BYTES)
    for length in range(max(0, size - 8), size + 1):
        values = {"a": "x" * length}
        assert compiled.upsert(id_, ROW, values, None) == plain.upsert(id_, ROW, values, None)


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_of_one_array_are_the_rows_one_by_one(compiled: bool) -> None:
    array = np.arange(4 * D, dtype=np.float32).reshape(4, D) + 1
    names, values = ["a", "é", "🚢", "x" * 512], [None, {}, {"a": 1.5}, {"b": "é" * 99}]
    one_by_one = made(compiled=False)
    expected = [one_by_one.upsert(*row, None) for row in zip(names, array, values, strict=True)]
    assert of_rows(made(compiled=compiled), names, array, values, None) == expected
    assert of_rows(made(compiled=compiled), tuple(names), array, tuple(values), None) == expected
    assert of_rows(made(compiled=compiled), [], [], None, None) == []
    some = made(compiled=compiled).upserts(names, array, values, [None] * 4)
    assert [*some.records(0, 3), *some.records(3, 4)] == expected


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("source", [None, "text"])
def test_rows_are_those_that_were_checked_whatever_becomes_of_the_lists(compiled: bool, source: str | None) -> None:
    names, values, texts = ["a", "b"], [{"a": 1}, {"a": 2}], None if source is None else [source, source]
    expected = of_rows(made(compiled=False), names, np.stack([ROW, ROW]), values, texts)
    rows = made(compiled=compiled).upserts(names, np.stack([ROW, ROW]), values, texts)
    names.append("c")
    values.clear()
    assert rows.count == 2
    assert list(rows.records(0, 2)) == expected


@pytest.mark.parametrize("compiled", [True, False])
def test_vectors_at_an_odd_address_are_taken(compiled: bool) -> None:
    odd = np.frombuffer(b"x" + ROW.tobytes(), np.float32, offset=1)
    assert not odd.flags.aligned
    expected = made(compiled=False).upsert("a", ROW, None, None)
    assert made(compiled=compiled).upsert("a", odd, None, None) == expected
    assert of_rows(made(compiled=compiled), ["a"], odd.reshape(1, D), None, None) == [expected]


@pytest.mark.parametrize("compiled", [True, False])
def test_an_id_that_has_a_form_is_held_to_it(compiled: bool) -> None:
    records = made(compiled=compiled, id_type="bigint")
    assert records.upsert("7", ROW, None, None)[0] == b"7"
    with pytest.raises(InvalidRecord, match="canonical"):
        records.upsert("07", ROW, None, None)
    with pytest.raises(InvalidRecord, match="canonical"):
        records.upserts(["07"], ROW[None], None, None)


def test_what_is_plain_is_never_too_large() -> None:
    lengths = 100  # of everything else, with room to spare
    assert 4 * MAX_DIMENSION + MAX_METADATA_BYTES + 2 * MAX_ID_BYTES + lengths < MAX_RECORD_BYTES


@pytest.mark.parametrize("compiled", [True, False])
def test_nothing_of_a_call_is_kept(compiled: bool) -> None:
    records = made(compiled=compiled)
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


def test_wrong_calls_of_the_compiled_encoder_raise() -> None:
    space = Space(model="m", version="1", dimension=D, metric="cosine")
    plain = plain_encoder(Collection(name="c", space=space, partitions=1), None, RANDOM)
    if plain is None:  # where nothing could be compiled; the first test looks whether it could
        return
    for array, start, stop in [(ROW, 0, 1), (ROW[None, :2], 0, 1), (np.stack([ROW, ROW])[:, ::-1], 0, 1)]:
        with pytest.raises(ValueError, match=rf"float32 \[n, {D}\]"):
            plain.records([b"a"], array, [b"{}"], NOW_S, start, stop)
    for start, stop in [(-1, 1), (1, 0), (0, 2)]:
        with pytest.raises(ValueError, match="no rows"):
            plain.records([b"a"], ROW[None], [b"{}"], NOW_S, start, stop)
    with pytest.raises(ValueError, match="no rows"):
        plain.records([b"a", b"b"], ROW[None], [b"{}", b"{}"], NOW_S, 0, 2)
    for call, arguments in [
        (plain.records, (["a"], ROW[None], [b"{}"], NOW_S, 0, 1)),
        (plain.records, ([b"a"], ROW[None], ["{}"], NOW_S, 0, 1)),
        (plain.records, ((b"a",), ROW[None], [b"{}"], NOW_S, 0, 1)),
        (plain.records, ([b"a"], ROW[None], [b"{}"], "0", 0, 1)),
        (plain.records, ([b"a"], ROW[None])),
        (plain.upsert, ("a", ROW, None, "0")),
        (plain.upsert, ("a", ROW, None)),
        (plain.parts, (["a"], [])),
        (plain.parts, ("a", [None])),
        (plain.parts, (["a"],)),
    ]:
        with pytest.raises(TypeError):
            call(*arguments)  # type: ignore[operator]
    for unix_s in (float("nan"), float("inf"), 1e15):
        with pytest.raises(ValueError, match="time of day"):
            plain.upsert("a", ROW, None, unix_s)
    with pytest.raises(ValueError, match="random has 7 bytes"):
        plain_encoder(Collection(name="c", space=space, partitions=1), None, bytes(7))


def test_event_ids_count_over_the_edge_of_a_byte() -> None:
    compiled, plain = made(compiled=True), made(compiled=False)
    rows = ["a"] * 300, np.stack([ROW] * 300), None, None
    assert of_rows(compiled, *rows) == of_rows(plain, *rows)
    assert compiled.upsert("a", ROW, None, None) == plain.upsert("a", ROW, None, None)


def test_threads_share_one_encoder() -> None:
    records = made(compiled=True)
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
