"""One property test per law of consumers/ordering.py, and its table written out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.consumers.ordering import Absent, Deleted, Present, State, decide, resume_offset
from vecferry.schemas.batch import Op, Outcome
from vecferry.schemas.position import MAX_EPOCH, MAX_OFFSET, base_position, encode_position

P = encode_position(1, 7)
BASE = base_position(1)

positions = st.builds(encode_position, st.integers(1, MAX_EPOCH), st.integers(0, MAX_OFFSET))
ops = st.sampled_from([Op.UPSERT, Op.DELETE, Op.SNAPSHOT])
states = st.one_of(
    st.just(Absent()),
    positions.map(lambda position: Present(position=position)),
    positions.map(lambda position: Deleted(position=position)),
)
Event = tuple[Op, int]


@pytest.mark.parametrize(
    ("state", "op", "position", "outcome", "after"),
    [
        (Absent(), Op.UPSERT, P, Outcome.APPLIED, Present(position=P)),
        (Absent(), Op.DELETE, P, Outcome.APPLIED, Deleted(position=P)),
        (Absent(), Op.SNAPSHOT, BASE, Outcome.APPLIED, Present(position=BASE)),
        (Present(position=P), Op.UPSERT, P + 1, Outcome.APPLIED, Present(position=P + 1)),
        (Present(position=P), Op.DELETE, P + 1, Outcome.APPLIED, Deleted(position=P + 1)),
        (Present(position=P), Op.SNAPSHOT, P + 1, Outcome.APPLIED, Present(position=P + 1)),
        (Present(position=BASE), Op.DELETE, encode_position(1, 0), Outcome.APPLIED, Deleted(position=BASE + 1)),
        (Deleted(position=P), Op.UPSERT, P + 1, Outcome.APPLIED, Present(position=P + 1)),
        (Deleted(position=P), Op.UPSERT, P - 1, Outcome.STALE, Deleted(position=P)),
        (Deleted(position=P), Op.SNAPSHOT, P - 1, Outcome.STALE, Deleted(position=P)),
        (Deleted(position=P), Op.SNAPSHOT, BASE, Outcome.STALE, Deleted(position=P)),
        (Deleted(position=P), Op.DELETE, P, Outcome.DUPLICATE, Deleted(position=P)),
        (Present(position=P), Op.UPSERT, P, Outcome.DUPLICATE, Present(position=P)),
        (Present(position=P), Op.SNAPSHOT, P, Outcome.DUPLICATE, Present(position=P)),
        (Present(position=P), Op.DELETE, P - 1, Outcome.STALE, Present(position=P)),
    ],
)
def test_the_table(state: State, op: Op, position: int, outcome: Outcome, after: State) -> None:
    assert decide(state, op, position) == (outcome, after)


def test_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="PATCH"):
        decide(Absent(), Op.PATCH, P)


@given(states, ops, positions)
def test_applied_is_the_only_outcome_that_changes_the_state(state: State, op: Op, position: int) -> None:
    outcome, after = decide(state, op, position)
    assert (outcome is Outcome.APPLIED) == (after != state)
    assert outcome in (Outcome.APPLIED, Outcome.STALE, Outcome.DUPLICATE)


@given(states, ops, positions)
def test_a_redelivery_is_a_duplicate_or_stale(state: State, op: Op, position: int) -> None:
    _, after = decide(state, op, position)
    again, unchanged = decide(after, op, position)
    assert again in (Outcome.DUPLICATE, Outcome.STALE)
    assert unchanged == after


@given(states, ops, positions)
def test_positions_only_rise_and_nothing_is_forgotten(state: State, op: Op, position: int) -> None:
    _, after = decide(state, op, position)
    assert not isinstance(after, Absent)
    assert after.position >= position
    if not isinstance(state, Absent):
        assert after.position >= state.position


@given(ops, positions, ops, positions)
def test_two_events_commute(op: Op, position: int, other_op: Op, other: int) -> None:
    if position == other:
        other_op = op
    assert final([(op, position), (other_op, other)]) == final([(other_op, other), (op, position)])


@given(
    st.data(), st.lists(st.tuples(st.sampled_from([Op.UPSERT, Op.DELETE]), st.integers(0, 40)), min_size=1, max_size=6)
)
def test_any_delivery_of_the_log_and_of_copies_ends_in_its_newest_event(data: st.DataObject, log: list[Event]) -> None:
    """Copies of rows, those of BASE included, arrive anywhere, any number of times; so do redeliveries."""
    events = [(op, encode_position(1, offset)) for op, offset in {offset: (op, offset) for op, offset in log}.values()]
    copies = [(Op.SNAPSHOT, position) for op, position in events if op is Op.UPSERT] + [(Op.SNAPSHOT, BASE)]
    noise = data.draw(st.lists(st.sampled_from(events + copies), max_size=8))
    delivered = data.draw(st.permutations(events + noise))
    op, position = max(events, key=lambda event: event[1])
    assert final(delivered) == (Deleted(position=position) if op is Op.DELETE else Present(position=position))


def test_every_event_of_an_epoch_is_newer_than_its_base_and_than_the_epoch_before() -> None:
    last_of_epoch_1 = Present(position=encode_position(1, MAX_OFFSET))
    assert decide(last_of_epoch_1, Op.SNAPSHOT, base_position(2))[0] is Outcome.APPLIED
    assert decide(Present(position=base_position(2)), Op.DELETE, encode_position(2, 0))[0] is Outcome.APPLIED


@pytest.mark.parametrize(
    ("committed", "applied", "start"),
    [(5, 5, 5), (4, 5, 4), (9, 5, 5), (0, 0, 0), (0, 5, 0), (None, 5, None), (5, None, None), (None, None, None)],
)
def test_a_worker_resumes_at_the_lower_offset_or_not_at_all(
    committed: int | None, applied: int | None, start: int | None
) -> None:
    assert resume_offset(committed, applied) == start


def final(events: Sequence[Event]) -> State:
    state: State = Absent()
    for op, position in events:
        _, state = decide(state, op, position)
    return state
