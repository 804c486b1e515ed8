"""A batch that runs into a limit of the server is made smaller: neither its size nor a record stops a worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from memory_store import MemoryStore
from numpy.typing import NDArray
from step_clock import StepClock
from store_data import DIMENSION, at, batch, collection
from vecferry.consumers.applying import Abandoned, Applier
from vecferry.errors import Oversized, Rejected, Transient
from vecferry.schemas.batch import EventBatch, LiveMark, Mark, Op, Outcome

MARK = LiveMark(partition=1, next_offset=100)


class Slow(MemoryStore):
    """Gives up calls with more than ``takes`` rows, as a server does with a time limit; never takes the id "bad"."""

    def __init__(self, takes: int) -> None:
        super().__init__(collection())
        self.create(complete=False)
        self.takes = takes
        self.calls: list[int] = []
        self.given_up = 0

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        self.calls.append(len(batch))
        if len(batch) > self.takes:
            self.given_up += 1
            raise Oversized("statement timeout")
        if "bad" in batch.ids:
            raise Rejected("bad")
        return super().apply(batch, marks)


def rows(n: int, first: int = 0) -> EventBatch:
    return batch((Op.UPSERT, f"id-{i}", at(i)) for i in range(first, first + n))


def applier(store: MemoryStore, clock: StepClock, give_up_s: float = float("inf")) -> Applier:
    return Applier(store, DIMENSION, clock, lambda: clock.now_s >= give_up_s)


def test_a_batch_beyond_the_time_limit_is_applied_in_smaller_ones_and_not_tried_again_as_it_is() -> None:
    store, clock = Slow(takes=12), StepClock()
    result = applier(store, clock).apply(rows(100), [MARK])
    assert set(result.outcomes.tolist()) == {Outcome.APPLIED}
    assert (store.count(), store.live[1]) == (100, 100)
    assert store.calls.count(100) == 1
    assert store.given_up <= 6
    assert clock.now_s == 0  # it is no outage: nothing to wait for


def test_the_next_batches_begin_with_what_the_server_takes() -> None:
    store, clock = Slow(takes=12), StepClock()
    worker = applier(store, clock)
    worker.apply(rows(100), ())
    before = store.given_up
    for turn in range(1, 6):
        worker.apply(rows(100, first=100 * turn), [MARK])
    assert store.count() == 600
    assert store.given_up - before <= 10  # it grows by a sixteenth at a time, and is halved again


def test_a_server_that_recovers_gets_whole_batches_again() -> None:
    store, clock = Slow(takes=1), StepClock()
    worker = applier(store, clock)
    worker.apply(rows(64), ())
    store.takes = 1_000
    for turn in range(1, 30):
        worker.apply(rows(64, first=64 * turn), ())
    store.calls.clear()
    worker.apply(rows(64, first=10_000), ())
    assert store.calls == [64]


@pytest.mark.parametrize("takes", [1, 2, 7, 99])
def test_a_poison_record_in_a_batch_that_is_too_large_is_the_only_letter(takes: int) -> None:
    store, clock = Slow(takes=takes), StepClock()
    events = batch((Op.UPSERT, "bad" if i == 41 else f"id-{i}", at(i)) for i in range(100))
    worker = applier(store, clock)
    result = worker.apply(events, [MARK])
    assert result.rejected == {41: "bad"}
    assert (store.count(), store.live[1]) == (99, 0)
    worker.mark([MARK])
    assert store.live[1] == 100


class Gateway(Slow):
    """Cuts the connection of a call that takes longer than its time limit, and says nothing of that."""

    def __init__(self, takes: int, watch: StepClock, took_s: float) -> None:
        super().__init__(takes)
        self._watch, self._took_s = watch, took_s

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        try:
            return super().apply(batch, marks)
        except Oversized:
            self._watch.sleep_s(self._took_s)
            raise Transient("connection lost") from None


def test_a_batch_that_a_gateway_cuts_off_again_and_again_is_made_smaller() -> None:
    clock = StepClock()
    store = Gateway(12, clock, took_s=5.0)
    applier(store, clock, give_up_s=600).apply(rows(100), [MARK])
    assert (store.count(), store.live[1]) == (100, 100)


def test_a_server_that_is_away_keeps_its_batch_as_it_is() -> None:
    clock = StepClock()
    store = Gateway(0, clock, took_s=0.0)  # refuses connections, which takes no time
    with pytest.raises(Abandoned):
        applier(store, clock, give_up_s=60).apply(rows(100), [MARK])
    assert set(store.calls) == {100}


def test_one_event_that_runs_into_the_limit_alone_waits_for_the_server() -> None:
    """A server that is short of time says nothing against the event: it must not become a dead letter."""
    store, clock = Slow(takes=0), StepClock()
    with pytest.raises(Abandoned, match="statement timeout"):
        applier(store, clock, give_up_s=60).apply(rows(1), [MARK])
    assert 10 < len(store.calls) < 40
    store.takes = 1
    applier(store, clock).apply(rows(1), [MARK])
    assert store.live[1] == 100
