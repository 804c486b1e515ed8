"""The contract of ``stores/base.py``, part two: ids, metadata and vectors come back as they went in, by every path."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import (
    DIMENSION,
    PARTITIONS,
    PLACEMENT,
    Content,
    at,
    batch,
    batch_of,
    collection,
    contents,
    journaled,
    partition_of,
    seeds,
    vector_for,
)
from store_factory import StoreFactory
from vecferry.errors import Rejected
from vecferry.schemas.batch import LiveMark, Op
from vecferry.schemas.collection import MAX_ID_BYTES
from vecferry.schemas.filters import parse_filter
from vecferry.stores.base import Cursor, Store

AWKWARD_IDS = (
    *("it's", 'say "hi"', "back\\slash", "100%", "%s", "%(id)s", "{0}", "{}", "$1", "a;b--c", "/*", "`tick`", "NULL"),
    *("  lead and trail  ", "tab\tnew\nline\r", "\u0001", "\x7f", "\U0001f600\u200d\U0001f468", "\ufeffbom", "Ünïcödé"),
    *(
        "U\u0308",
        "\u05e9\u05dc\u05d5\u05dd \u202e \u0645\u0631\u062d\u0628\u0627",
        "\uffff",
        "\U0010ffff",
        "a",
        "A",
        "ß",
    ),
    *("x" * MAX_ID_BYTES, "é" * (MAX_ID_BYTES // 2), "deleted=true", "' OR '1'='1", "10", "9", "-0", "1e3"),
)


def scanned(store: Store, rows_per_chunk: int = 7, page_rows: int = 3) -> dict[str, Content]:
    chunks = [journaled(chunk) for chunk in store.plan_chunks(rows_per_chunk)]
    pages = [page for chunk in chunks for page in store.scan(chunk, page_rows)]
    assert all(0 < len(page) <= page_rows for page in pages)
    return contents(pages)


def exported(store: Store, limit: int = 4) -> dict[str, Content]:
    found: dict[str, Content] = {}
    after: Cursor = None
    while True:
        given = store.export(after, limit)
        page = contents(given.rows)
        assert len(page) <= limit
        assert not set(page) & set(found)
        found |= page
        if given.next is None:
            return found
        after = journaled(given.next)


def assert_every_path_gives(store: Store, wanted: Mapping[str, Content]) -> None:
    live = {id_: content for id_, content in wanted.items() if content.vector is not None}
    assert contents(store.fetch(list(wanted))) == wanted
    assert scanned(store) == live
    assert exported(store) == live
    assert store.count() == len(live)


def test_awkward_ids_survive_every_path(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    events = batch((Op.UPSERT, id_, at(i), {"own": id_}) for i, id_ in enumerate(AWKWARD_IDS))
    assert not store.apply(events, ()).any()
    wanted = {
        id_: Content(position=at(i), vector=vector_for(at(i)).tobytes(), metadata={"own": id_})
        for i, id_ in enumerate(AWKWARD_IDS)
    }
    assert_every_path_gives(store, wanted)
    hits = store.search(vector_for(1), len(AWKWARD_IDS), (), 30)
    assert {hit.id: hit.metadata for hit in hits} == {id_: {"own": id_} for id_ in AWKWARD_IDS}
    for id_ in AWKWARD_IDS:
        assert [hit.id for hit in store.search(vector_for(1), 3, parse_filter({"own": id_}), 30)] == [id_]


def test_awkward_ids_can_be_deleted_and_are_remembered(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, id_, at(0)) for id_ in AWKWARD_IDS), ())
    store.apply(batch((Op.DELETE, id_, at(1)) for id_ in AWKWARD_IDS), ())
    assert_every_path_gives(store, {id_: Content(position=at(1), vector=None) for id_ in AWKWARD_IDS})


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    ids=st.sets(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1), max_size=20)
)
def test_any_text_is_an_id(store_factory: StoreFactory, ids: set[str]) -> None:
    store = store_factory.opened[0] if store_factory.opened else store_factory(collection(), PLACEMENT)
    names = sorted(ids)
    store.apply(batch((Op.UPSERT, id_, at(1)) for id_ in names), ())
    assert set(contents(store.fetch(names))) == set(names)
    assert set(names) <= set(exported(store, 50))


@pytest.mark.parametrize("id_", ["nul\0byte", "lone\ud800surrogate"])
def test_an_id_that_cannot_be_carried_is_rejected_whole(store_factory: StoreFactory, id_: str) -> None:
    store = store_factory(collection(), PLACEMENT)
    events = batch([(Op.UPSERT, "good", at(1)), (Op.UPSERT, id_, at(2))])
    mark = LiveMark(partition=partition_of("good"), next_offset=3)
    try:
        store.apply(events, (mark,))
    except Rejected:
        assert contents(store.fetch(["good"])) == {}
        assert store.applied().live[mark.partition] == 0
    else:
        assert set(contents(store.fetch(["good", id_]))) == {"good", id_}


AWKWARD_METADATA: tuple[dict[str, object], ...] = (
    {},
    {"": ""},
    {"nested": {"a": [1, 2, {"b": None}], "c": {}}, "list": [], "none": None},
    {"unicode": "\u05e9\u05dc \U0001f600 \u2028", "quote's": 'a"b\\c', "ctl": "\t\n\x01"},
    {"safe": 2**53, "big": 2**63 - 1, "negative": -(2**63), "bigger": 10**30},
    {"float": 0.1, "tiny": 5e-324, "large": 1.5e20, "minus": -0.25, "int": 1, "whole": 1.0},
    {"true": True, "false": False, "one": 1, "zero": 0},
    {"%s": "%s", "{}": "{}", "$1": "'; DROP TABLE products; --"},
    {"id": "not the id", "position": 3, "deleted": True, "vector": [1, 2]},
    {"long": "x" * 100_000},
)


def test_metadata_survives_every_path(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, f"m{i}", at(i), metadata) for i, metadata in enumerate(AWKWARD_METADATA)), ())
    wanted = {
        f"m{i}": Content(position=at(i), vector=vector_for(at(i)).tobytes(), metadata=metadata)
        for i, metadata in enumerate(AWKWARD_METADATA)
    }
    assert_every_path_gives(store, wanted)
    hits = store.search(vector_for(1), len(AWKWARD_METADATA), (), 30)
    assert {hit.id: hit.metadata for hit in hits} == {f"m{i}": value for i, value in enumerate(AWKWARD_METADATA)}


def test_vectors_come_back_bit_by_bit(store_factory: StoreFactory) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, size=(400, DIMENSION), dtype=np.uint32)
    vectors = bits.view(np.float32)
    # Finite, and read by way of a float64 its decimal digits name another float32.
    vectors[~np.isfinite(vectors)] = np.float32(7.038531e-26)
    vectors[0] = [0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38, 16777217.0]
    store = store_factory(collection(), PLACEMENT)
    ids = [f"v{i:03}" for i in range(len(vectors))]
    store.apply(batch_of(ids, vectors, [{}] * len(ids)), ())
    wanted = {id_: Content(position=at(i), vector=vectors[i].tobytes(), metadata={}) for i, id_ in enumerate(ids)}
    assert contents(store.fetch(ids)) == wanted
    assert scanned(store, 100, 33) == wanted
    assert exported(store, 64) == wanted


def test_an_enrolled_table_gives_the_same_by_every_path(store_factory: StoreFactory) -> None:
    rows = seeds(40)
    store = store_factory(collection(), PLACEMENT, existing=rows)
    store.apply(batch([(Op.UPSERT, "sku-0003", at(5)), (Op.DELETE, "sku-0004", at(6)), (Op.UPSERT, "new", at(7))]), ())
    paths = (scanned(store), exported(store), contents(store.fetch([row.id for row in rows] + ["new"])))
    assert paths[0] == paths[1]
    assert paths[2].pop("sku-0004").vector is None
    assert paths[0] == paths[2]
    assert len(paths[0]) == 40


def test_chunks_cover_ids_that_come_later(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, f"m{i:02}", at(i)) for i in range(20)), ())
    chunks = store.plan_chunks(6)
    assert 3 <= len(chunks) <= 5
    later = ["", " ", "0", "m", "m055", "m19x", "zzz", "\U0010ffff"]
    later = [id_ for id_ in dict.fromkeys((*later, *AWKWARD_IDS)) if id_]
    store.apply(batch((Op.UPSERT, id_, at(100 + i)) for i, id_ in enumerate(later)), ())
    found = contents(page for chunk in chunks for page in store.scan(chunk, 5))
    assert set(found) == {f"m{i:02}" for i in range(20)} | set(later)


@pytest.mark.parametrize(("rows", "chunks"), [(0, 1), (1, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_no_chunk_is_planned_without_rows(store_factory: StoreFactory, rows: int, chunks: int) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, f"m{i:02}", at(i)) for i in range(rows)), ())
    assert len(store.plan_chunks(6)) == chunks


def test_a_scan_sees_what_was_applied_before_it(store_factory: StoreFactory) -> None:
    writer = store_factory(collection(), PLACEMENT)
    reader = store_factory.open(collection(), PLACEMENT)
    (everything,) = reader.plan_chunks(100)
    for i in range(5):
        writer.apply(batch([(Op.UPSERT, f"n{i}", at(i)), (Op.UPSERT, "same", at(i))]), ())
        found = contents(reader.scan(everything, 100))
        assert set(found) == {"same", *(f"n{j}" for j in range(i + 1))}
        assert found["same"].position == at(i)
        assert contents(reader.fetch(["same"]))["same"].position == at(i)
        assert reader.count() == i + 2


def test_other_calls_may_come_between_two_pages_of_a_scan(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, f"p{i}", at(i)) for i in range(9)), ())
    seen = []
    (everything,) = store.plan_chunks(100)
    for page in store.scan(everything, 2):
        seen += page.ids
        assert store.applied().live[0] == 0
        store.apply(batch([]), (LiveMark(partition=1, next_offset=1),))
    assert sorted(seen) == [f"p{i}" for i in range(9)]


@pytest.mark.parametrize("dimension", [DIMENSION - 1, DIMENSION + 1])
def test_another_dimension_is_rejected_whole(store_factory: StoreFactory, dimension: int) -> None:
    store = store_factory(collection(), PLACEMENT)
    with pytest.raises(Rejected):
        store.apply(batch([(Op.UPSERT, "a", at(1))], dimension=dimension), (LiveMark(partition=0, next_offset=9),))
    assert contents(store.fetch(["a"])) == {}
    assert store.applied().live == dict.fromkeys(range(PARTITIONS), 0)
