"""How a load process talks to the demo: a JSON line on stdout twice a second, and one when it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType

_INTERVAL_S = 0.5


def run_until_stopped(
    threads: list[threading.Thread], stop: threading.Event, counts: Callable[[], Mapping[str, object]]
) -> None:
    """Start ``threads`` and report ``counts`` until SIGTERM, or until the parent is gone; then join and report."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    parent = os.getppid()
    for thread in threads:
        thread.start()
    while not stop.wait(_INTERVAL_S) and os.getppid() == parent:
        _report(counts())
    stop.set()
    for thread in threads:
        thread.join()
    _report(counts())


def _report(counts: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(counts) + "\n")
    sys.stdout.flush()
