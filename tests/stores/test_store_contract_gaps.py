"""The contract of ``stores/base.py``: a store that lost its table, or some of its writes, does not say it has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from store_data import PARTITIONS, PLACEMENT, at, batch, collection, contents, partition_of, seeds
from store_factory import StoreFactory
from vecferry.errors import Fatal, Transient
from vecferry.schemas.batch import Applied, LiveMark, Mark, Op, Outcome, SnapshotMark
from vecferry.stores.base import Store

NOTHING = Applied(live=dict.fromkeys(range(PARTITIONS), 0), complete=frozenset(), snapshots={})
CLOSED = tuple(
    SnapshotMark(run="r1", partition=partition, next_offset=9, next_chunk=2, closed=True)
    for partition in range(PARTITIONS)
)


def live(next_offset: int, known: int = 0) -> LiveMark:
    return LiveMark(partition=partition_of("a"), next_offset=next_offset, known=known)


def chunk(next_offset: int, known: int = 0, *, closed: bool = False) -> SnapshotMark:
    partition = partition_of("a")
    return SnapshotMark(
        run="r1", partition=partition, next_offset=next_offset, next_chunk=next_offset, closed=closed, known=known
    )


def until_answered(apply: Callable[[], object]) -> None:
    """As a worker does: again after an error that passes."""
    for _ in range(5):
        try:
            apply()
        except Transient:
            continue
        return
    raise AssertionError("the store never answered")


def filled(store_factory: StoreFactory) -> Store:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch([(Op.UPSERT, "a", at(3)), (Op.DELETE, "b", at(4))]), (live(5), *CLOSED))
    assert store.applied().complete == frozenset(range(PARTITIONS))
    return store


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_a_lost_table_had_applied_is_forgotten_with_it(store_factory: StoreFactory, by_hand: bool) -> None:
    filled(store_factory)
    store_factory.drop_table(PLACEMENT)
    if by_hand:  # the application makes it again, as it was before the pipeline
        store_factory.make_existing(collection(), PLACEMENT, seeds(3))
    store = store_factory.open(collection(), PLACEMENT)
    assert store.applied() == Applied(live={}, complete=frozenset(), snapshots={})
    assert store.create(complete=False, dry_run=True) == store.create(complete=False)
    assert store.applied() == NOTHING
    assert store.apply(batch([(Op.UPSERT, "b", at(1))]), ()).tolist() == [Outcome.APPLIED]
    store.create(complete=False)
    assert set(contents(store.fetch(["a", "b"]))) == {"b"}


def test_rows_that_predate_the_pipeline_are_counted_enrolled_or_not(store_factory: StoreFactory) -> None:
    store = store_factory.open(collection(), PLACEMENT)
    assert store.count_unstamped() == 0
    store_factory.make_existing(collection(), PLACEMENT, seeds(3))
    assert store.count_unstamped() == 3
    store.create(complete=True)
    assert store.count_unstamped() == 3
    store.apply(batch([(Op.UPSERT, "sku-0001", at(3)), (Op.SNAPSHOT, "b", at(0) - 1), (Op.DELETE, "c", at(4))]), ())
    assert store.count_unstamped() == 2


def test_a_mark_is_written_where_the_store_has_what_it_builds_on(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch([(Op.UPSERT, "a", at(0))]), (live(1, 0), chunk(4, 0)))
    store.apply(batch([(Op.UPSERT, "a", at(7))]), (live(8, 1), chunk(6, 4)))  # offsets are not dense
    again = store.apply(batch([(Op.UPSERT, "a", at(7))]), (live(8, 1), chunk(6, 4)))  # its outcome was not known
    assert again.tolist() == [Outcome.DUPLICATE]
    store.apply(batch([(Op.UPSERT, "a", at(0))]), (live(1, 0), chunk(4, 0)))  # read from the beginning again
    store.apply(batch([]), (live(9, 5),))
    assert store.applied().live[partition_of("a")] == 9
    store.apply(batch([]), (chunk(7, 6, closed=True),))
    assert store.applied().snapshots == {("r1", partition_of("a")): chunk(7, closed=True)}
    assert store.applied().complete == {partition_of("a")}


GAPS = [(live(9, 6),), (chunk(9, 6),), (chunk(9, 6, closed=True),), (live(5, 5), chunk(9, 6, closed=True))]


@pytest.mark.parametrize("marks", GAPS)
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_mark_does_not_move_over_a_gap(
    store_factory: StoreFactory, marks: tuple[Mark, ...], begun: bool, rows: int
) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch([]), (live(5), chunk(5)) if begun else (live(5),))
    before = store.applied()
    events = batch([(Op.UPSERT, "a", at(8))][:rows])
    for _ in range(2):
        with pytest.raises(Fatal, match=r"partition \d( of run r1)? up to offset [05], after it had acknowledged 6: "):
            store.apply(events, marks)
        assert store.applied() == before
    mended = tuple(live(9, 5) if isinstance(mark, LiveMark) else chunk(9) for mark in marks)
    store.apply(events, mended)


def test_a_writer_does_not_go_on_in_a_table_that_was_made_anew_under_it(store_factory: StoreFactory) -> None:
    writer = filled(store_factory)
    store_factory.drop_table(PLACEMENT)
    store_factory.open(collection(), PLACEMENT).create(complete=False)
    with pytest.raises(Fatal, match="up to offset 0, after it had acknowledged 5"):
        until_answered(lambda: writer.apply(batch([(Op.UPSERT, "a", at(5))]), (live(6, 5),)))
    until_answered(writer.applied)
    assert writer.applied() == store_factory.open(collection(), PLACEMENT).applied() == NOTHING
