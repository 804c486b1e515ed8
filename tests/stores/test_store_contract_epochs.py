"""The contract of ``stores/base.py``: what a store remembers of another log, and how an epoch ends. Every store."""

from __future__ import annotations

import contextlib

import pytest
from store_data import PARTITIONS, PLACEMENT, at, batch, collection, contents, partition_of, seeds
from store_factory import StoreFactory
from vecferry.errors import Refused
from vecferry.schemas.batch import Applied, LiveMark, Op, Outcome, SnapshotMark
from vecferry.schemas.position import base_position

ALL = range(PARTITIONS)
CLOSED = SnapshotMark(run="r1", partition=1, next_offset=9, next_chunk=2, closed=True)


def test_a_store_without_events_has_no_highest_position(store_factory: StoreFactory) -> None:
    store = store_factory.open(collection(), PLACEMENT)
    assert store.highest_position() is None
    store_factory.make_existing(collection(), PLACEMENT, seeds(3))
    assert store.highest_position() is None
    store.create(complete=True)
    store.apply(batch([]), (LiveMark(partition=1, next_offset=500), CLOSED))
    assert store.highest_position() is None


@pytest.mark.parametrize("newest", [Op.UPSERT, Op.DELETE, Op.SNAPSHOT])
def test_the_highest_position_is_that_of_the_newest_row_or_delete(store_factory: StoreFactory, newest: Op) -> None:
    store = store_factory(collection(), PLACEMENT, existing=seeds(3))
    store.apply(batch([(Op.UPSERT, "a", at(3)), (Op.DELETE, "b", at(2)), (newest, "sku-0001", at(70))]), ())
    assert store.highest_position() == at(70)
    assert store_factory.open(collection(epoch=4), PLACEMENT).highest_position() == at(70)


def test_a_row_that_was_copied_at_base_has_that_position(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch([(Op.SNAPSHOT, "a", base_position(1))]), ())
    assert store.highest_position() == base_position(1)


@pytest.mark.parametrize("complete", [False, True])
def test_a_raised_epoch_keeps_the_rows_and_begins_with_new_marks(store_factory: StoreFactory, complete: bool) -> None:
    old = store_factory(collection(), PLACEMENT)
    marks = (LiveMark(partition=0, next_offset=40), CLOSED)
    old.apply(batch([(Op.UPSERT, "a", at(39)), (Op.DELETE, "b", at(38))]), marks)
    new = store_factory.open(collection(epoch=2), PLACEMENT)
    assert new.applied() == Applied(live={}, complete=frozenset(), snapshots={})
    assert new.create(complete=complete)
    expected = Applied(live=dict.fromkeys(ALL, 0), complete=frozenset(ALL if complete else ()), snapshots={})
    assert new.applied() == expected
    new.create(complete=False)
    assert new.applied() == expected
    events = [(Op.UPSERT, "a", at(0, 2)), (Op.UPSERT, "b", at(1, 2))]
    mark = SnapshotMark(run="r1", partition=1, next_offset=1, next_chunk=1)
    assert new.apply(batch(events), (mark,)).tolist() == [Outcome.APPLIED, Outcome.APPLIED]
    assert new.applied().snapshots == {("r1", 1): mark}
    assert {id_: state.position for id_, state in contents(new.fetch(["a", "b"])).items()} == {
        "a": at(0, 2),
        "b": at(1, 2),
    }


def test_a_writer_of_an_epoch_that_is_over_cannot_move_the_marks(store_factory: StoreFactory) -> None:
    old = store_factory(collection(), PLACEMENT)
    new = store_factory.open(collection(epoch=2), PLACEMENT)
    new.create(complete=False)
    new.apply(batch([(Op.UPSERT, "a", at(0, 2))]), (LiveMark(partition=partition_of("a"), next_offset=1),))
    before = new.applied()
    late = (LiveMark(partition=partition_of("a"), next_offset=900), CLOSED)
    with contextlib.suppress(Refused):  # a store may refuse it whole, or take it for stale
        assert old.apply(batch([(Op.UPSERT, "a", at(899))]), late).tolist() == [Outcome.STALE]
    assert new.applied() == before
    assert contents(new.fetch(["a"]))["a"].position == at(0, 2)
    old.create(complete=True)  # an old configuration enrols again
    assert new.applied() == before
