"""How a load process gets its task, a JSON file, and how it reports: a JSON line twice a second, and one at its end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the load processes need to know; travels as a JSON file."""

    config: str
    topic: str
    collection: str
    ledgers: str
    sightings: str
    data: str
    rows: int | None
    writers: int
    readers: int
    rate: float
    seed: int

    def write(self, path: Path) -> None:
        """Write it to ``path``."""
        path.write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def read(cls, path: Path) -> Task:
        """The inverse of :meth:`write`."""
        return cls(**json.loads(path.read_text()))


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
