"""Time as a value that is passed in. Nothing else in the package reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic_s(self) -> float:
        """Seconds that never go back, from an arbitrary origin."""
        ...

    def unix_s(self) -> float:
        """Seconds since 1970 UTC. For display and heartbeats, never for order."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Block this thread for ``seconds``."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    unix_s = staticmethod(time.time)  # a call less: publishing asks for every record

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK: Clock = SystemClock()
