"""Who serves reports, and when."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, RLock, Thread
from typing import Any, cast

import pytest
from confluent_kafka import Producer
from step_clock import StepClock
from vecferry.producers.reports import CALLS_PER_TURN, Reports


class Quiet:
    """A client that has nothing to report; ``polled`` runs inside each poll."""

    def __init__(self, polled: Callable[[float], None]) -> None:
        self.poll = lambda timeout_s: polled(timeout_s) or 0


def test_the_thread_waits_for_reports_unless_callers_are_busy_serving_them() -> None:
    waited: list[float] = []
    made = Event()

    def polled(timeout_s: float) -> None:
        made.wait(10.0)
        waited.append(timeout_s)
        if len(waited) == 2:
            reports.calls += CALLS_PER_TURN
        reports._stopping = len(waited) == 5

    reports = Reports(cast(Producer, Quiet(polled)), "reports", lambda error: None, StepClock())
    made.set()
    reports._thread.join(10.0)
    assert [seconds > 0 for seconds in waited] == [True, True, False, True, True]


class Interrupted:
    """A lock that is taken, or not, when a KeyboardInterrupt comes."""

    def __init__(self, lock: Any) -> None:
        self.release = lock.release
        self._lock = lock

    def acquire(self, *, blocking: bool) -> bool:
        self._lock.acquire(blocking=blocking)
        raise KeyboardInterrupt


def ended() -> Reports:
    """Whose thread is no more."""
    reports = Reports(cast(Producer, Quiet(lambda timeout_s: None)), "reports", lambda error: None, StepClock())
    reports.stop()
    return reports


def test_an_interrupt_leaves_nobody_waiting_for_ever() -> None:
    reports = ended()
    lock = RLock()
    reports._serving = cast(Any, Interrupted(lock))
    with pytest.raises(KeyboardInterrupt):
        reports.serve()
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(blocking=False))
        with pytest.raises(KeyboardInterrupt):
            reports.serve()
        lock.release()

    for _ in range(2):
        other = Thread(target=take)
        other.start()
        other.join(10.0)
    assert taken == [True, True]


def test_what_another_thread_holds_is_left_to_it() -> None:
    polled: list[float] = []
    reports = ended()
    reports._producer = cast(Producer, Quiet(polled.append))
    reports._serving.acquire()
    other = Thread(target=reports.serve)
    other.start()
    other.join(10.0)
    assert polled == []
    reports._serving.release()
    reports.serve()
    assert polled == [0.0]


def test_a_callback_that_publishes_does_not_poll_within_a_poll() -> None:
    polled: list[float] = []
    reports = ended()

    def call_back(timeout_s: float) -> None:
        polled.append(timeout_s)
        reports.serve()

    reports._producer = cast(Producer, Quiet(call_back))
    reports.serve()
    reports.serve()
    assert polled == [0.0, 0.0]
