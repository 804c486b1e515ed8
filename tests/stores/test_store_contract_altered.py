"""A table that somebody alters while a worker writes into it: no event is at fault, and none is changed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from store_data import TYPED, at, batch, collection, contents
from store_factory import StoreFactory
from vecferry.errors import Refused, Rejected
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Outcome
from vecferry.stores.base import Store

LARGE = {"rank": 2**40, "price": 1.25, "title": "t"}


def event(id_: str, offset: int, metadata: Mapping[str, object] = LARGE) -> EventBatch:
    return batch([(Op.UPSERT, id_, at(offset), metadata)])


@pytest.fixture
def store(store_factory: StoreFactory) -> Store:
    """A store over a table with typed columns, which has applied one event."""
    store_factory.make_typed(collection(), TYPED)
    made = store_factory.open(collection(), TYPED)
    made.create(complete=True)
    assert made.apply(event("first", 1), (LiveMark(partition=0, next_offset=2),)).tolist() == [Outcome.APPLIED]
    return made


def metadata_of(store: Store, id_: str) -> object:
    return contents(store.fetch([id_]))[id_].metadata


def test_a_column_that_is_not_mapped_may_be_added_and_dropped(store_factory: StoreFactory, store: Store) -> None:
    store_factory.alter(TYPED, "add")
    assert store.apply(event("a", 2), ()).tolist() == [Outcome.APPLIED]
    store_factory.alter(TYPED, "add", undo=True)
    assert store.apply(event("b", 3), ()).tolist() == [Outcome.APPLIED]
    assert metadata_of(store, "a") == metadata_of(store, "b") == LARGE


@pytest.mark.parametrize(("change", "column"), [("drop", "price"), ("rename", "price"), ("cast", "rank")])
def test_an_altered_column_stops_with_one_line_and_goes_on_after_the_undo(
    store_factory: StoreFactory, store: Store, change: str, column: str
) -> None:
    if change == "cast":
        store.apply(batch([(Op.DELETE, "first", at(2))]), ())  # its rank would not fit
    store_factory.alter(TYPED, change)
    events = event("a", 3)
    with pytest.raises(Refused) as refused:
        store.apply(events, (LiveMark(partition=0, next_offset=9),))
    (line,) = str(refused.value).splitlines()
    assert column in line
    restarted = store_factory.open(collection(), TYPED)
    with pytest.raises(Refused, match=column):  # a supervisor starts it again and again
        restarted.apply(events, ())
    store_factory.alter(TYPED, change, undo=True)
    for handle in (store, restarted):
        assert handle.applied().live[0] == 2
    assert store.apply(events, (LiveMark(partition=0, next_offset=9),)).tolist() == [Outcome.APPLIED]
    assert restarted.apply(events, ()).tolist() == [Outcome.DUPLICATE]
    assert metadata_of(store, "a") == LARGE


def test_an_altered_column_takes_what_still_fits(store_factory: StoreFactory, store: Store) -> None:
    store.apply(batch([(Op.DELETE, "first", at(2))]), ())
    store_factory.alter(TYPED, "cast")
    small = {"rank": 7, "price": 0.1, "title": "t"}
    assert store.apply(event("a", 3, small), ()).tolist() == [Outcome.APPLIED]
    assert metadata_of(store, "a") == small


def test_a_widened_column_takes_what_did_not_fit_before(store_factory: StoreFactory, store: Store) -> None:
    wide = {"small": 2**40}
    with pytest.raises(Rejected):
        store.apply(event("a", 2, wide), ())
    store_factory.alter(TYPED, "widen")
    assert store.apply(event("a", 2, wide), ()).tolist() == [Outcome.APPLIED]
    assert metadata_of(store, "a") == wide


def test_a_record_that_never_fitted_is_still_the_fault_of_the_record(store_factory: StoreFactory, store: Store) -> None:
    store_factory.alter(TYPED, "add")
    with pytest.raises(Rejected):
        store.apply(event("a", 2, {"rank": "seven"}), ())
