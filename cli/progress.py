"""Progress of long work on stderr: a bar on a terminal, one JSON line a second elsewhere."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager

from ..backfill.progress import OnProgress, Progress
from ..clock import SYSTEM_CLOCK, Clock
from ..wording import count
from .output import Console

_INTERVAL_S = 1.0


@contextmanager
def reporting(console: Console, *, clock: Clock = SYSTEM_CLOCK) -> Iterator[OnProgress]:
    """A function to call with each moment of the work, as often as one likes."""
    if console.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        with _bar(console) as show:
            yield show
    else:
        yield _JsonLines(console, clock)


class _JsonLines:
    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._shown_s = float("-inf")
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now_s = self._clock.monotonic_s()
        # A new phase and the end of one show at once: a script that reads the last line must not miss them.
        if now_s - self._shown_s < _INTERVAL_S and progress.phase == self._phase and progress.percent < 100.0:
            return
        self._shown_s, self._phase = now_s, progress.phase
        self._console.say(json.dumps(document(progress), ensure_ascii=False))


def document(progress: Progress) -> dict[str, object]:
    """``progress`` for a script: figures as exact as they are known, chunks only where there are any."""
    fields = dataclasses.asdict(progress)
    if not progress.chunks:
        del fields["chunks_done"], fields["chunks"]
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in fields.items()}


@contextmanager
def _bar(console: Console) -> Iterator[OnProgress]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with RichProgress(*columns, console=RichConsole(file=console.stderr), transient=False) as bars:
        task = bars.add_task("", total=100.0, figures="")

        def show(progress: Progress) -> None:
            bars.update(task, description=progress.phase, completed=progress.percent, figures=figures(progress))

        yield show


def figures(progress: Progress) -> str:
    """The numbers beside the bar: percent, chunks, rows, rate, time to go, and why it waits."""
    chunks = [f"{progress.chunks_done}/{count(progress.chunks, 'chunk')}"] if progress.chunks else []
    parts = [f"{progress.percent:.1f} %", *chunks, count(progress.rows, "row")]
    if progress.rows_per_s > 0:
        parts.append(f"{progress.rows_per_s:.0f} rows/s")
    if progress.eta_s is not None and progress.eta_s > 0:
        parts.append(f"ETA {progress.eta_s:.0f} s")
    if progress.throttled is not None:
        parts.append(f"waits: {progress.throttled}")
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)
