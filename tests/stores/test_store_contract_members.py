"""What every adapter and the store in memory are held to: capabilities, cursors, the verbs of the index."""

from __future__ import annotations

import numpy as np
import pytest
from store_data import DIMENSION, PLACEMENT, at, batch, collection, contents, journaled
from store_factory import StoreFactory
from vecferry.errors import Fatal
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import MAX_ID_BYTES
from vecferry.schemas.filters import Operator, parse_filter
from vecferry.stores.base import Cursor, Guarantee, Store

MEMORY_TOO = True


def filled(store_factory: StoreFactory, ids: list[str]) -> Store:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, id_, at(i), {"n": i}) for i, id_ in enumerate(ids)), ())
    return store


def test_the_adapter_says_what_it_promises(store_factory: StoreFactory) -> None:
    capabilities = store_factory.open(collection(), PLACEMENT).capabilities
    assert isinstance(capabilities.guarantee, Guarantee)
    assert "text" in capabilities.id_types
    assert capabilities.metrics <= {"cosine", "dot", "l2"}
    assert capabilities.vector_tolerance >= 0
    assert capabilities.max_rows is None or capabilities.max_rows > 0
    assert capabilities.max_bytes is None or capabilities.max_bytes > 0


@pytest.mark.parametrize(
    ("operator", "wanted", "found"),
    [(Operator.EQUALS, 1, "b"), (Operator.IN, {"$in": [0, 2, 7]}, "ac"), (Operator.MISSING, {"$in": [None, 1]}, "bd")],
)
def test_a_filter_operator_that_is_promised_is_met(
    store_factory: StoreFactory, operator: Operator, wanted: object, found: str
) -> None:
    store = filled(store_factory, ["a", "b", "c"])
    store.apply(batch([(Op.UPSERT, "d", at(9), {"m": 1})]), ())
    conditions = parse_filter({"n": wanted})
    assert operator in conditions[0].operators
    assert operator in store.capabilities.filters  # one that lacks it says what becomes of this test
    hits = store.search(np.ones(DIMENSION, np.float32), 10, conditions, 30.0)
    assert sorted(hit.id for hit in hits) == [*found]


def test_a_vector_comes_back_within_the_tolerance(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    given = batch((Op.UPSERT, f"v{i}", at(i)) for i in range(20))
    store.apply(given, ())
    (chunk,) = store.plan_chunks(100)
    for rows in (store.fetch(given.ids), store.export(None, 100).rows, *store.scan(chunk, 100)):
        wanted = given.vectors[[given.ids.index(id_) for id_ in rows.ids]].astype(np.float64)
        scales = np.abs(wanted).max(axis=1, keepdims=True)
        assert (np.abs(rows.vectors - wanted) <= store.capabilities.vector_tolerance * scales).all()


def test_chunks_and_places_survive_a_journal(store_factory: StoreFactory) -> None:
    ids = [f"i{n:02}" for n in range(20)]
    store = filled(store_factory, ids)
    chunks = [journaled(chunk) for chunk in store.plan_chunks(6)]
    assert set(contents(page for chunk in chunks for page in store.scan(chunk, 4))) == set(ids)
    exported, place = [], journaled(None)
    while True:
        page = store.export(place, 6)
        assert len(page.rows) <= 6
        exported.append(page.rows)
        if page.next is None:
            break
        place = journaled(page.next)
    assert set(contents(exported)) == set(ids)


def test_the_longest_ids_fit_a_chunk(store_factory: StoreFactory) -> None:
    ids = [f"{i}{chr(1) * (MAX_ID_BYTES - 1)}" for i in range(4)]
    store = filled(store_factory, ids)
    chunks = [journaled(chunk) for chunk in store.plan_chunks(1)]
    assert [contents(store.scan(chunk, 5)).keys() for chunk in chunks] == [{id_} for id_ in ids]


@pytest.mark.parametrize("foreign", [{"point": 7}, [1, 2], ["a"], 7, True])
def test_a_cursor_of_another_store_is_refused(store_factory: StoreFactory, foreign: Cursor) -> None:
    store = store_factory(collection(), PLACEMENT)
    with pytest.raises(Fatal):
        list(store.scan(foreign, 5))
    with pytest.raises(Fatal):
        store.export(foreign, 5)


def test_an_index_is_ready_once_it_was_built_and_writes_leave_it_so(store_factory: StoreFactory) -> None:
    store = filled(store_factory, ["a", "b", "c"])
    for _ in range(2):
        store.build_index()
        assert store.index_ready()
    store.apply(batch([(Op.UPSERT, "d", at(9))]), ())
    assert store.index_ready()
    hits = store.search(np.ones(DIMENSION, np.float32), 10, (), 30.0)
    assert sorted(hit.id for hit in hits) == ["a", "b", "c", "d"]
