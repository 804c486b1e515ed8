"""Asking an idle store for its marks: nothing else would show that a server took over which lacks the last writes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from ..clock import Clock
from ..executor import Executor
from ..schemas.batch import Applied

LOOK_S = 5.0


class IdleLook:
    """Calls ``applied`` in the applying thread when the store was idle for a while; used by the polling thread."""

    def __init__(self, executor: Executor, applied: Callable[[], Applied], clock: Clock) -> None:
        self._executor = executor
        self._applied = applied
        self._clock = clock
        self._look: Future[Applied] | None = None
        self._since_s = clock.monotonic_s()

    def turn(self, *, store_is_idle: bool) -> None:
        """Look when it is time, and raise what an earlier look raised: Fatal when the store lost writes."""
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            look.result()
        now_s = self._clock.monotonic_s()
        if not store_is_idle:
            self._since_s = now_s
        elif self._look is None and now_s - self._since_s >= LOOK_S:
            self._since_s = now_s
            self._look = self._executor.submit(self._applied)
