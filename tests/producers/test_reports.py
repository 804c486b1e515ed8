"""When the thread that serves reports waits for them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import cast

from step_clock import StepClock
from vecferry.producers.reports import CALLS_PER_TURN, Reports
from vecferry.producers.sending import Sender


class Quiet:
    """A sender whose client has nothing to report; ``polled`` runs inside each poll."""

    def __init__(self, polled: Callable[[float], None]) -> None:
        self.producer, self.poll = self, lambda timeout_s: polled(timeout_s) or 0

    def drain(self) -> None:
        """Nothing is there."""

    def tell(self) -> None:
        """Nobody waits."""


def test_the_thread_waits_for_reports_unless_callers_are_busy_serving_them() -> None:
    waited: list[float] = []
    made = Event()

    def polled(timeout_s: float) -> None:
        made.wait(10.0)
        waited.append(timeout_s)
        if len(waited) == 2:
            reports.calls += CALLS_PER_TURN
        reports._stopping = len(waited) == 5

    reports = Reports(cast(Sender, Quiet(polled)), "reports", lambda error: None, StepClock())
    made.set()
    reports._thread.join(10.0)
    assert [seconds > 0 for seconds in waited] == [True, True, False, True, True]
