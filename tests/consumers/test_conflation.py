"""Folding a batch, and unfolding it when the store rejects what was kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.consumers.conflation import UNDECIDED, Folded, conflate, unfold
from vecferry.consumers.ordering import Absent, State, decide
from vecferry.schemas.batch import EventBatch, Op, Outcome
from vecferry.schemas.position import base_position, encode_position

Event = tuple[str, Op, int]


def batch_of(events: list[Event]) -> EventBatch:
    return EventBatch(
        ids=[id_ for id_, _, _ in events],
        ops=np.array([op for _, op, _ in events], np.int8),
        partitions=np.zeros(len(events), np.int32),
        positions=np.array([position for _, _, position in events], np.int64),
        vectors=np.arange(2 * len(events), dtype=np.float32).reshape(len(events), 2),
        metadata=[b'{"row":%d}' % row for row in range(len(events))],
    )


def outcomes_of(folded: Folded) -> list[str]:
    return ["?" if outcome == UNDECIDED else Outcome(outcome).name for outcome in folded.outcomes]


def tries(folded: Folded, row: int | None) -> list[int]:
    """The rows that are tried one after the other if the store rejects every one of them."""
    tried = []
    while row is not None:
        tried.append(row)
        row = unfold(folded, row)
    return tried


# A position belongs to one event of one id, so two events of an id that share it are the same event (or its copy).
events = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=12).map(
    lambda drawn: [
        (id_, (Op.UPSERT, Op.DELETE, Op.SNAPSHOT)[(offset + ord(id_)) % 3], encode_position(1, offset))
        for id_, offset in drawn
    ]
)


def test_distinct_ids_are_returned_as_they_are() -> None:
    batch = batch_of([("a", Op.UPSERT, 5), ("b", Op.DELETE, 1), ("c", Op.SNAPSHOT, 2)])
    folded = conflate(batch)
    assert folded.batch is batch
    assert folded.kept.tolist() == [0, 1, 2]
    assert folded.kept.dtype == np.intp
    assert folded.outcomes.dtype == np.int8
    assert folded.beneath == {}
    assert outcomes_of(folded) == ["?", "?", "?"]


def test_an_empty_batch_folds_to_an_empty_batch() -> None:
    folded = conflate(batch_of([]))
    assert (len(folded.batch), folded.kept.tolist(), folded.outcomes.tolist()) == (0, [], [])


def test_the_newest_position_is_kept_whatever_its_operation_and_place() -> None:
    base = base_position(1)
    folded = conflate(
        batch_of(
            [
                ("a", Op.UPSERT, base + 3),
                ("b", Op.DELETE, base + 9),
                ("a", Op.DELETE, base + 4),
                ("b", Op.SNAPSHOT, base),
                ("c", Op.UPSERT, base + 5),
                ("a", Op.SNAPSHOT, base),
            ]
        )
    )
    assert folded.kept.tolist() == [1, 2, 4]
    assert folded.batch.ids == ["b", "a", "c"]
    assert folded.batch.ops.tolist() == [Op.DELETE, Op.DELETE, Op.UPSERT]
    assert folded.batch.metadata == [b'{"row":1}', b'{"row":2}', b'{"row":4}']
    assert folded.batch.vectors.tolist() == [[2, 3], [4, 5], [8, 9]]
    assert folded.beneath == {2: (0, 5), 1: (3,)}
    assert outcomes_of(folded) == ["SUPERSEDED", "?", "?", "SUPERSEDED", "?", "SUPERSEDED"]


def test_a_second_copy_of_a_position_is_a_duplicate_wherever_it_lies() -> None:
    folded = conflate(
        batch_of(
            [("a", Op.UPSERT, 1), ("a", Op.UPSERT, 2), ("a", Op.UPSERT, 1), ("a", Op.UPSERT, 2), ("b", Op.DELETE, 1)]
        )
    )
    assert folded.kept.tolist() == [1, 4]
    assert outcomes_of(folded) == ["SUPERSEDED", "?", "DUPLICATE", "DUPLICATE", "?"]
    assert tries(folded, 1) == [1, 0]


def test_only_copies_leave_nothing_beneath() -> None:
    folded = conflate(batch_of([("a", Op.DELETE, 7), ("a", Op.DELETE, 7)]))
    assert outcomes_of(folded) == ["?", "DUPLICATE"]
    assert folded.beneath == {}
    assert unfold(folded, 0) is None


def test_unfolding_goes_down_one_event_at_a_time() -> None:
    folded = conflate(batch_of([("a", Op.UPSERT, 1), ("a", Op.UPSERT, 3), ("b", Op.UPSERT, 1), ("a", Op.UPSERT, 2)]))
    assert unfold(folded, 1) == 3
    assert unfold(folded, 3) == 0
    assert unfold(folded, 0) is None
    assert unfold(folded, 2) is None


@given(events)
def test_no_id_twice_and_every_event_accounted_for_once(drawn: list[Event]) -> None:
    folded = conflate(batch_of(drawn))
    assert len(set(folded.batch.ids)) == len(folded.batch) == len(folded.kept) == len({id_ for id_, _, _ in drawn})
    reached = sorted(row for kept in folded.kept.tolist() for row in tries(folded, kept))
    duplicates = np.flatnonzero(folded.outcomes == Outcome.DUPLICATE).tolist()
    assert sorted(reached + duplicates) == list(range(len(drawn)))
    assert (np.flatnonzero(folded.outcomes == UNDECIDED) == folded.kept).all()


@given(events)
def test_a_store_cannot_tell_a_folded_batch_from_the_events_one_by_one(drawn: list[Event]) -> None:
    batch = batch_of(drawn)
    assert states_after(conflate(batch).batch) == states_after(batch)


@given(events, st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 8).map(lambda o: encode_position(1, o)))))
def test_what_a_store_rejects_takes_no_other_event_with_it(drawn: list[Event], poison: set[tuple[str, int]]) -> None:
    batch = batch_of(drawn)
    folded = conflate(batch)
    stored = []
    for kept in folded.kept.tolist():
        accepted = [row for row in tries(folded, kept) if (batch.ids[row], int(batch.positions[row])) not in poison]
        stored += accepted[:1]
    good = [event for event in drawn if (event[0], event[2]) not in poison]
    assert states_after(batch.take(np.array(stored, np.intp))) == states_after(batch_of(good))


@pytest.mark.parametrize("size", [2, 3])
def test_kept_rows_index_the_batch_as_it_was(size: int) -> None:
    batch = batch_of([(f"id-{row % size}", Op.UPSERT, row) for row in range(9)])
    folded = conflate(batch)
    assert folded.kept.tolist() == list(range(9 - size, 9))
    assert folded.batch.positions.tolist() == batch.positions[folded.kept].tolist()


def states_after(batch: EventBatch) -> dict[str, State]:
    states: dict[str, State] = {}
    for id_, op, position in zip(batch.ids, batch.ops.tolist(), batch.positions.tolist(), strict=True):
        _, states[id_] = decide(states.get(id_, Absent()), Op(op), position)
    return states
