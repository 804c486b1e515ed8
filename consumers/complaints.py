"""What a worker says of a store that fails for a while: once, again when the reason changes, and that it is over."""

from __future__ import annotations

import logging

from ..clock import Clock

_log = logging.getLogger("vecferry.worker")

SAY_AGAIN_S = 600.0
_WORTH_SAYING_S = 1.0


class Complaints:
    """Of one store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cause = ""
        self._since_s = self._said_s = 0.0

    def failed(self, cause: str, wait_s: float) -> None:
        """A try failed, and the next one is in ``wait_s``."""
        now_s = self._clock.monotonic_s()
        if not self._cause:
            self._since_s = now_s
        elif cause == self._cause and now_s - self._said_s < SAY_AGAIN_S:
            return
        self._cause, self._said_s = cause, now_s
        again = f" for {now_s - self._since_s:.0f} s" if now_s > self._since_s else ""
        _log.warning("the store does not answer%s (%s); trying again in %.2f s, until it does", again, cause, wait_s)

    def answered(self) -> None:
        """A try succeeded."""
        if self._cause:
            self._cause, lasted_s = "", self._clock.monotonic_s() - self._since_s
            if lasted_s >= _WORTH_SAYING_S:
                _log.warning("the store answers again, after %.0f s", lasted_s)
