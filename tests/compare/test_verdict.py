from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.compare.content import State, suspects
from vecferry.compare.verdict import Fault, Seen, judge, remembered
from vecferry.schemas.batch import Rows

BARRIER = 100


def state(
    position: int, *, deleted: bool = False, vector: tuple[float, ...] = (1.0, 2.0), metadata: str = "{}"
) -> State:
    return State(position=position, deleted=deleted, vector=np.array(vector, np.float32), metadata=metadata.encode())


def seen(now: State | None, *earlier: State, applied: int = BARRIER, twice: bool = False) -> Seen:
    return Seen(now=now, applied=applied, earlier=earlier, twice=twice)


def verdict(source: State | None, target: State | None) -> Fault | None:
    found = judge("a", seen(source), seen(target), 1e-6)
    return None if found is None else found.fault


@pytest.mark.parametrize(
    ("source", "target", "fault"),
    [
        (None, None, None),
        (None, state(7, deleted=True), None),
        (state(7, deleted=True), None, None),
        (state(7, deleted=True), state(9, deleted=True), None),
        (state(7), state(7), None),
        (state(7), None, Fault.MISSING),
        (None, state(7), Fault.EXTRA),
        (state(9, deleted=True), state(7), Fault.EXTRA),
        (state(9), state(7), Fault.STALE),
        (state(7), state(9), Fault.STALE),
        (state(9), state(7, deleted=True), Fault.STALE),
        (state(7), state(9, deleted=True), Fault.STALE),
        (state(7, deleted=True), state(9), Fault.STALE),
        (state(7), state(7, deleted=True), Fault.CORRUPT),
        (state(7, deleted=True), state(7), Fault.CORRUPT),
        (state(7), state(7, vector=(1.0, 2.1)), Fault.CORRUPT),
        (state(7), state(7, metadata='{"a":1}'), Fault.CORRUPT),
    ],
)
def test_below_the_barrier_every_pair_of_states_has_one_verdict(
    source: State | None, target: State | None, fault: Fault | None
) -> None:
    assert verdict(source, target) == fault


@pytest.mark.parametrize(
    ("source", "target"),
    [(state(100), None), (None, state(100)), (state(7), state(100)), (state(120, deleted=True), state(7))],
)
def test_a_state_from_behind_the_barrier_decides_nothing(source: State | None, target: State | None) -> None:
    assert verdict(source, target) is Fault.UNDECIDED


def test_equal_positions_are_judged_even_behind_the_barrier() -> None:
    assert verdict(state(150), state(150)) is None
    assert verdict(state(150), state(150, vector=(0.0, 0.0))) is Fault.CORRUPT


@pytest.mark.parametrize(
    ("source", "target", "fault"),
    [
        # The target is past 105, which the source has shown, and does not show it.
        (seen(state(120), state(105)), seen(state(7), applied=110), Fault.STALE),
        (seen(state(120), state(105)), seen(None, applied=110), Fault.MISSING),
        (seen(state(120), state(105, deleted=True)), seen(state(7), applied=110), Fault.EXTRA),
        (seen(state(120), state(105)), seen(state(7, deleted=True), applied=110), Fault.STALE),
        (seen(state(7), applied=110), seen(state(120), state(105)), Fault.STALE),
        (seen(None, applied=110), seen(state(120), state(105)), Fault.EXTRA),
        # A state at which both were once equal does not help a store that has stopped there.
        (seen(state(120), state(7), state(105)), seen(state(7), applied=110), Fault.STALE),
        # It is past 105 and shows something newer, or need not show 105 yet.
        (seen(state(120), state(105)), seen(state(108), applied=110), Fault.UNDECIDED),
        (seen(state(120), state(105)), seen(state(7), applied=105), Fault.UNDECIDED),
        # Nothing to see in either store so far, and still on the move.
        (seen(state(120, deleted=True)), seen(state(7, deleted=True), applied=120), Fault.UNDECIDED),
        (seen(state(120, deleted=True)), seen(None, applied=120), Fault.UNDECIDED),
        (seen(state(120), state(105, deleted=True)), seen(state(7, deleted=True), applied=110), Fault.UNDECIDED),
        (seen(state(120, deleted=True)), seen(state(7, deleted=True), applied=121), None),
        # The target has come to a state that the source had shown before.
        (seen(state(120), state(105), state(110)), seen(state(110), applied=105), None),
        (seen(state(120), state(110, deleted=True)), seen(state(110, deleted=True), applied=105), None),
        (seen(state(120), state(110)), seen(state(110, vector=(0.0, 0.0)), applied=105), Fault.CORRUPT),
        (seen(state(110), applied=105), seen(state(120), state(110, metadata='{"a":1}')), Fault.CORRUPT),
    ],
)
def test_what_was_shown_before_decides_an_id_that_is_being_written(
    source: Seen, target: Seen, fault: Fault | None
) -> None:
    found = judge("a", source, target, 1e-6)
    assert (None if found is None else found.fault) == fault


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (seen(state(7), twice=True), seen(state(7)), "held twice by the source"),
        (seen(state(7)), seen(state(7), twice=True), "held twice by the target"),
        (seen(None), seen(state(7), twice=True), "held twice by the target"),
        (seen(state(7), twice=True), seen(state(7), twice=True), "held twice by the source and the target"),
    ],
)
def test_an_id_that_is_held_twice_is_corrupt(source: Seen, target: Seen, reason: str) -> None:
    found = judge("a", source, target, 1e-6)
    assert found is not None
    assert (found.fault, found.reason) == (Fault.CORRUPT, reason)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_position_beyond_the_end_of_the_log_is_corrupt_and_not_being_written_for_ever(deleted: bool) -> None:
    beyond, below = state(150, deleted=deleted), state(149, deleted=deleted)
    for source, target, name in ((None, beyond, "target"), (beyond, state(7), "source"), (beyond, beyond, "source")):
        found = judge("a", seen(source), seen(target), 0.0, end=150)
        assert found is not None
        assert (found.fault, found.reason) == (Fault.CORRUPT, f"the {name} holds a position beyond the end of the log")
    found = judge("a", seen(None), seen(below), 0.0, end=150)
    assert found is not None
    assert found.fault is Fault.UNDECIDED


@pytest.mark.parametrize(("filtered", "blamed"), [('{"k": 1.0}', False), ('{"k":2}', True), ("{}", True)])
@pytest.mark.parametrize("side", ["source", "target"])
def test_what_filters_see_is_compared_with_the_metadata(side: str, filtered: str, blamed: bool) -> None:
    plain = state(7, metadata='{"k":1}')
    mirrored = replace(plain, filtered=filtered.encode())
    pair = (mirrored, plain) if side == "source" else (plain, mirrored)
    found = judge("a", seen(pair[0]), seen(pair[1]), 0.0)
    assert (found is not None) == blamed
    assert found is None or found.reason == f"filters of the {side} see something else: k"
    assert suspects(_rows({"a": pair[0]}), _rows({"a": pair[1]}), 0.0) == (["a"] if blamed else [])


def test_remembered_is_what_the_other_store_comes_to_next() -> None:
    shown = seen(state(50), state(10), state(20), state(30))

    def positions(other: State | None, limit: int) -> list[int]:
        return [kept.position for kept in remembered(shown, other, limit)]

    assert positions(None, 9) == [10, 20, 30, 50]
    assert positions(state(20), 9) == [30, 50]
    assert positions(state(60), 9) == []
    assert positions(None, 2) == [10, 20]
    assert positions(state(20), 1) == [30]
    assert len(remembered(seen(state(50), state(50)), None, 9)) == 1
    assert remembered(seen(None), None, 9) == ()


def test_remembered_vectors_do_not_hold_a_page() -> None:
    page = np.ones((1000, 2), np.float32)
    now = State(position=7, deleted=False, vector=page[3], metadata=b"{}")
    (kept,) = remembered(seen(now), None, 1)
    assert kept.vector.base is None
    assert kept.vector.tolist() == [1.0, 1.0]


def test_the_reason_names_the_side_and_the_content() -> None:
    older = judge("a", seen(state(7)), seen(state(9)), 1e-6)
    assert older is not None
    assert "source is older" in older.reason
    wrong = judge("a", seen(state(7)), seen(state(7, vector=(1.0, 2.5), metadata='{"k":1}')), 1e-6)
    assert wrong is not None
    assert "component 1 is 2 and 2.5, 0.2 of the vector's scale (tolerance 1e-06)" in wrong.reason
    assert "metadata differs: k" in wrong.reason


def _rows(states: dict[str, State]) -> Rows:
    return Rows(
        ids=list(states),
        positions=np.array([s.position for s in states.values()], np.int64),
        deleted=np.array([s.deleted for s in states.values()], np.bool_),
        vectors=np.array([s.vector for s in states.values()], np.float32).reshape(len(states), 2),
        metadata=[s.metadata for s in states.values()],
        filtered=[s.metadata if s.filtered is None else s.filtered for s in states.values()],
    )


STATES = st.builds(
    state,
    st.integers(1, 3),
    deleted=st.just(False),
    vector=st.sampled_from([(0.0, 0.0), (0.0, 1e-7), (0.0, 1.0)]),
    metadata=st.sampled_from(["{}", '{"a":1}', '{"a": 1.0}']),
)


@given(st.dictionaries(st.sampled_from("abcdef"), STATES), st.dictionaries(st.sampled_from("abcdefgh"), STATES))
def test_a_page_is_suspected_exactly_where_a_single_id_would_be_blamed(
    source: dict[str, State], target: dict[str, State]
) -> None:
    fetched = {id_: target[id_] for id_ in sorted(target, reverse=True) if id_ in source}
    blamed = [id_ for id_ in source if verdict(source[id_], target.get(id_)) is not None]
    assert suspects(_rows(source), _rows(fetched), 1e-6) == blamed
