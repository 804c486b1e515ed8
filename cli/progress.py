"""Progress of long work on stderr: some lines that fit a terminal, one JSON line a second elsewhere."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from ..backfill.progress import OnProgress, Progress
from ..clock import SYSTEM_CLOCK, Clock
from ..wording import count
from .output import Console

_INTERVAL_S = 1.0
_REDRAW_S = 0.25
_LEAST_BAR, _MOST_BAR = 6, 30


@contextmanager
def reporting(console: Console, *, clock: Clock = SYSTEM_CLOCK) -> Iterator[OnProgress]:
    """A function to call with each moment of the work, as often as one likes."""
    if console.stderr.isatty() and os.environ.get("TERM") != "dumb":
        drawing = _Drawing(console, clock)
        with console.saying_above(drawing.say):
            yield drawing
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
        self._console.stderr.write(json.dumps(document(progress), ensure_ascii=False) + "\n")
        self._console.stderr.flush()


def document(progress: Progress) -> dict[str, object]:
    """``progress`` for a script: figures as exact as they are known, chunks only where there are any."""
    fields = dataclasses.asdict(progress)
    if not progress.chunks:
        del fields["chunks_done"], fields["chunks"]
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in fields.items()}


class _Drawing:
    """Lines at the bottom of a terminal that are drawn over; whatever else is said goes above them."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._stderr = console.stderr
        self._clock = clock
        self._lines: list[str] = []
        self._shown_s = float("-inf")
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._shown_s < _REDRAW_S and progress.phase == self._phase and progress.percent < 100.0:
            return
        self._shown_s, self._phase = now_s, progress.phase
        self._draw([], lines(progress, shutil.get_terminal_size().columns - 1))  # a full line would be wrapped

    def say(self, line: str) -> None:
        self._draw([line], self._lines)

    def _draw(self, above: list[str], below: list[str]) -> None:
        back = f"\x1b[{len(self._lines)}A" if self._lines else ""
        self._stderr.write(f"{back}\r\x1b[J" + "".join(f"{line}\n" for line in (*above, *below)))
        self._stderr.flush()
        self._lines = below


def lines(progress: Progress, columns: int) -> list[str]:
    """``progress`` for people, in lines of at most ``columns``: how far, how fast, and why it waits."""
    right = f" {progress.percent:5.1f} %"
    if progress.eta_s is not None and progress.eta_s > 0:
        right += f", {duration(progress.eta_s)} left"
    bar = min(_MOST_BAR, columns - len(progress.phase) - len(right) - 3)
    if bar < _LEAST_BAR:
        shown = [*wrapped(progress.phase, columns), right.strip()]
    else:
        full = int(bar * progress.percent / 100)
        shown = [f"{progress.phase} [{'#' * full}{'.' * (bar - full)}]{right}"]
    indent = "  "
    for text in filter(None, (figures(progress), _waits(progress), progress.note)):
        shown += wrapped(text, columns, indent, indent * 2)
    return shown


def wrapped(text: str, columns: int, first: str = "", further: str = "") -> list[str]:
    """``text`` in lines of at most ``columns`` that begin with ``first`` and ``further``; hyphens break no name."""
    return textwrap.wrap(text, columns, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)


def figures(progress: Progress) -> str:
    """The numbers below the bar: chunks, rows, rate."""
    parts = [f"{progress.chunks_done} of {count(progress.chunks, 'chunk')}"] if progress.chunks else []
    parts.append(count(progress.rows, "row"))
    if progress.rows_per_s > 0:
        parts.append(f"{progress.rows_per_s:.0f} rows/s")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _waits(progress: Progress) -> str:
    return "" if progress.throttled is None else f"waits: {progress.throttled}"
