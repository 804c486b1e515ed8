"""The contract of ``stores/base.py``, part one: creation, order and marks. Every store, real engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import (
    PARTITIONS,
    PLACEMENT,
    Content,
    Event,
    at,
    batch,
    collection,
    contents,
    partition_of,
    seeds,
    vector_for,
)
from store_factory import StoreFactory
from vecferry.consumers.ordering import Absent, Deleted, Present, State, decide
from vecferry.schemas.batch import Applied, LiveMark, Mark, Op, Outcome, SnapshotMark
from vecferry.schemas.position import base_position
from vecferry.stores.base import Store

BASE = base_position(1)
ALL = range(PARTITIONS)


def outcomes(store: Store, events: list[Event], marks: tuple[Mark, ...] = ()) -> list[Outcome]:
    return [Outcome(value) for value in store.apply(batch(events), marks)]


def expected_content(position: int) -> Content:
    return Content(position=position, vector=vector_for(position).tobytes(), metadata={"at": position})


def test_a_store_that_was_never_created_has_no_marks_and_no_complaints(store_factory: StoreFactory) -> None:
    store = store_factory.open(collection(), PLACEMENT)
    assert store.applied() == Applied(live={}, complete=frozenset(), snapshots={})
    assert store.check() == ()


def test_a_new_store_starts_at_zero_and_incomplete(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    assert store.applied() == Applied(live=dict.fromkeys(ALL, 0), complete=frozenset(), snapshots={})
    assert store.count() == 0
    assert store.check() == ()
    assert contents(store.fetch(["a"])) == {}
    assert contents(store.export(None, 10).rows) == {}
    assert [contents(store.scan(chunk, 10)) for chunk in store.plan_chunks(10)] == [{}]


def test_dry_run_changes_nothing_and_shows_what_create_does(store_factory: StoreFactory) -> None:
    store = store_factory.open(collection(), PLACEMENT)
    shown = store.create(complete=False, dry_run=True)
    assert shown
    assert store.applied().live == {}
    assert store.create(complete=False) == shown


def test_create_twice_keeps_rows_and_marks(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    outcomes(store, [(Op.UPSERT, "a", at(3)), (Op.DELETE, "b", at(4))], (LiveMark(partition=1, next_offset=7),))
    store.create(complete=False)
    reopened = store_factory.open(collection(), PLACEMENT)
    assert reopened.applied().live[1] == 7
    assert contents(reopened.fetch(["a", "b"])) == {
        "a": expected_content(at(3)),
        "b": Content(position=at(4), vector=None),
    }


def test_an_enrolled_table_keeps_its_rows_at_base(store_factory: StoreFactory) -> None:
    rows = seeds(25)
    store = store_factory(collection(), PLACEMENT, existing=rows)
    wanted = {row.id: Content(position=BASE, vector=row.vector.tobytes(), metadata=row.metadata) for row in rows}
    assert store.check() == ()
    assert store.count() == 25
    assert store.applied() == Applied(live=dict.fromkeys(ALL, 0), complete=frozenset(ALL), snapshots={})
    assert contents(store.fetch(list(wanted))) == wanted
    assert contents(store.export(None, 100).rows) == wanted
    assert contents(page for chunk in store.plan_chunks(10) for page in store.scan(chunk, 4)) == wanted


def test_every_event_beats_a_row_at_base_and_base_does_not(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT, existing=seeds(3))
    assert outcomes(store, [(Op.SNAPSHOT, "sku-0000", BASE), (Op.SNAPSHOT, "sku-0001", BASE - 1)]) == [
        Outcome.DUPLICATE,
        Outcome.STALE,
    ]
    assert outcomes(store, [(Op.UPSERT, "sku-0000", at(0)), (Op.DELETE, "sku-0001", at(0))]) == [Outcome.APPLIED] * 2
    assert contents(store.fetch(["sku-0000", "sku-0001"])) == {
        "sku-0000": expected_content(at(0)),
        "sku-0001": Content(position=at(0), vector=None),
    }
    assert store.count() == 2


WRITES = (Op.UPSERT, Op.DELETE, Op.SNAPSHOT)


@pytest.mark.parametrize("incoming", WRITES)
@pytest.mark.parametrize("held", WRITES)
def test_the_ordering_table(store_factory: StoreFactory, held: Op, incoming: Op) -> None:
    store = store_factory(collection(), PLACEMENT)
    outcomes(store, [(held, name, at(5)) for name in ("older", "same", "newer")])
    events: list[Event] = [
        *((incoming, name, at(5 + step)) for step, name in ((-1, "older"), (0, "same"), (1, "newer"))),
        (incoming, "absent", at(1)),
    ]
    assert outcomes(store, events) == [Outcome.STALE, Outcome.DUPLICATE, Outcome.APPLIED, Outcome.APPLIED]
    after = contents(store.fetch(["older", "same", "newer", "absent"]))
    assert {name: (content.position, content.vector is None) for name, content in after.items()} == {
        "older": (at(5), held is Op.DELETE),
        "same": (at(5), held is Op.DELETE),
        "newer": (at(6), incoming is Op.DELETE),
        "absent": (at(1), incoming is Op.DELETE),
    }
    live = {name for name, content in after.items() if content.vector is not None}
    assert store.count() == len(live)
    assert set(contents(store.export(None, 10).rows)) == live


IDS = ("a", "b", "c'%{}")
A_BATCH = st.dictionaries(
    st.sampled_from(IDS), st.tuples(st.sampled_from(WRITES), st.integers(0, 5)), min_size=1, max_size=len(IDS)
)
_fresh: Iterator[int] = itertools.count()


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=st.lists(A_BATCH, min_size=1, max_size=6))
def test_any_history_of_batches_follows_the_pure_rule(
    store_factory: StoreFactory, history: list[dict[str, tuple[Op, int]]]
) -> None:
    store = store_factory.opened[0] if store_factory.opened else store_factory(collection(), PLACEMENT)
    prefix = f"{next(_fresh)}-"  # ids of its own for every example: making a table for each would be slow
    states: dict[str, State] = {}
    for wishes in history:
        events: list[Event] = [(op, prefix + id_, at(offset)) for id_, (op, offset) in wishes.items()]
        wanted = []
        for op, id_, position, *_ in events:
            outcome, states[id_] = decide(states.get(id_, Absent()), op, position)
            wanted.append(outcome)
        assert outcomes(store, events) == wanted
    after = contents(store.fetch([prefix + id_ for id_ in IDS]))
    assert set(after) == set(states)
    for id_, state in states.items():
        match state:
            case Present(position=position):
                assert after[id_] == expected_content(position)
            case Deleted(position=position):
                assert after[id_] == Content(position=position, vector=None)
            case Absent():
                raise AssertionError("nothing becomes absent")


def test_positions_are_exact_up_to_the_last_epoch(store_factory: StoreFactory) -> None:
    store = store_factory(collection(epoch=4095), PLACEMENT)
    top = at(2**41 - 2, epoch=4095)
    assert outcomes(store, [(Op.UPSERT, "a", top - 1)]) == [Outcome.APPLIED]
    assert outcomes(store, [(Op.UPSERT, "a", top)]) == [Outcome.APPLIED]
    assert outcomes(store, [(Op.DELETE, "a", top - 1)]) == [Outcome.STALE]
    assert contents(store.fetch(["a"]))["a"].position == top


def test_marks_go_forward_only(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    outcomes(store, [], (LiveMark(partition=0, next_offset=10), LiveMark(partition=2, next_offset=4)))
    outcomes(store, [], (LiveMark(partition=0, next_offset=3), LiveMark(partition=2, next_offset=5)))
    assert store.applied().live == {0: 10, 1: 0, 2: 5, 3: 0}


def test_snapshot_marks_go_forward_and_closing_makes_the_partition_complete(store_factory: StoreFactory) -> None:
    def mark(offset: int, chunk: int, *, closed: bool = False, run: str = "r1") -> SnapshotMark:
        return SnapshotMark(run=run, partition=1, next_offset=offset, next_chunk=chunk, closed=closed)

    store = store_factory(collection(), PLACEMENT)
    id_ = next(name for name in "abcdefgh" if partition_of(name) == 1)
    outcomes(store, [(Op.SNAPSHOT, id_, BASE)], (mark(5, 1), mark(1, 0, run="r2")))
    outcomes(store, [], (mark(3, 0),))
    assert store.applied().snapshots == {("r1", 1): mark(5, 1), ("r2", 1): mark(1, 0, run="r2")}
    assert store.applied().complete == frozenset()
    outcomes(store, [], (mark(9, 2, closed=True),))
    outcomes(store, [], (mark(9, 2),))
    assert store.applied().snapshots[("r1", 1)] == mark(9, 2, closed=True)
    assert store.applied().complete == {1}
    assert store.applied().live == dict.fromkeys(ALL, 0)


def test_metadata_of_a_snapshot_row_replaces_what_was_there(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    outcomes(store, [(Op.UPSERT, "a", at(1), {"x": 1, "y": [1, {"z": None}]})])
    outcomes(store, [(Op.SNAPSHOT, "a", at(2), {"y": "new"})])
    assert contents(store.fetch(["a"]))["a"].metadata == {"y": "new"}
