"""A clock for tests of what waits: it moves when somebody sleeps, or when the test moves it."""

from __future__ import annotations


class StepClock:
    """Wall clock and monotonic clock are the same: ``now_s``."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds
