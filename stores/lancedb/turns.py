"""Taking turns on a table in a directory: many processes merge batches into it at once, or one merges its files.

Lance lets a commit of rows win over one that merges files. Beside a writer that never pauses the latter would lose each
time, and leave its files behind. So both take turns by locks on two files in the table's folder: whoever merges files
closes the gate, waits for the batches that are under way, and opens the gate afterwards. A batch only passes the gate.

Nothing but space depends on these locks. The system gives back those of a process that ends, and nobody waits for ever
for one that was stopped. Where there are no such locks (a bucket, Windows, some file systems) everything goes on as if
it were alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...clock import Clock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WAIT_S = 10.0
IGNORE_S = 60.0  # after waiting in vain
_LOOK_S = 0.005
_GATE, _ROWS = "_vecferry_gate.lock", "_vecferry_rows.lock"


class Turns:
    """Of one handle of a table in ``folder``; None: nothing to lock."""

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder if fcntl is not None else None
        self._clock = clock
        self._ignored_until_s = float("-inf")

    @contextmanager
    def of_rows(self) -> Iterator[None]:
        """The block merges rows. Waits while files are merged."""
        with ExitStack() as stack:
            with ExitStack() as passing:
                self._lock(_GATE, passing, alone=False)
                self._lock(_ROWS, stack, alone=False)
            yield

    @contextmanager
    def of_files(self) -> Iterator[bool]:
        """The block merges files. True: no rows are being merged meanwhile, by a process of vecferry."""
        with ExitStack() as stack:
            yield self._lock(_GATE, stack, alone=True) and self._lock(_ROWS, stack, alone=True)

    def _lock(self, name: str, stack: ExitStack, *, alone: bool) -> bool:
        """Whether the lock was taken; it is given back with ``stack``."""
        now_s = self._clock.monotonic_s()
        if self._folder is None or now_s < self._ignored_until_s:
            return False
        try:
            file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return False
        stack.callback(os.close, file)  # which gives the lock back
        kind = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
        while True:
            try:
                fcntl.flock(file, kind)
            except BlockingIOError:
                if self._clock.monotonic_s() - now_s < WAIT_S:
                    self._clock.sleep_s(_LOOK_S)
                    continue
                self._ignored_until_s = self._clock.monotonic_s() + IGNORE_S
                return False
            except OSError:  # a file system without such locks
                return False
            return True
