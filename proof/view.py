"""What a run shows while it runs: a live panel on a terminal, a plain line every two seconds elsewhere."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..clock import SYSTEM_CLOCK

_LINE_S = 2.0
_PANEL_S = 0.5


@dataclass(slots=True, kw_only=True)
class State:
    """What is known at this moment. Written by several threads, each its own fields; read by the view."""

    began_s: float = field(default_factory=SYSTEM_CLOCK.monotonic_s)
    phase: str = "set-up"
    doing: str = ""
    percent: int = 0
    copied: str = "not begun"
    lag: dict[str, int] = field(default_factory=dict)
    writes: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, Any] = field(default_factory=dict)
    regressed: int = 0
    events: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return SYSTEM_CLOCK.monotonic_s() - self.began_s

    def errors(self) -> int:
        """Failed writes and reads, stale reads, and positions that went down."""
        failed: int = len(self.writes.get("failures", ())) + sum(self.reads.get("failures", {}).values())
        return failed + len(self.reads.get("stale", ())) + self.regressed


class Rates:
    """Writes and reads per second between two looks."""

    def __init__(self) -> None:
        self._before = (0.0, 0, 0)

    def __call__(self, state: State) -> tuple[float, float]:
        """The rates since the last call."""
        at_s, writes, reads = self._before
        now = (state.seconds, state.writes.get("acknowledged", 0), state.reads.get("total", 0))
        self._before = now
        passed_s = max(0.001, now[0] - at_s)
        return (now[1] - writes) / passed_s, (now[2] - reads) / passed_s


class View:
    """Shows ``state`` inside ``with``; ``say`` adds an event. On leaving, the last picture stays."""

    def __init__(self, state: State, title: str, console: Console | None = None) -> None:
        self._state = state
        self._title = title
        self._console = Console(file=sys.stdout) if console is None else console
        self._rates = Rates()
        self._stop = threading.Event()
        self._live = self._console.is_terminal
        self._thread = threading.Thread(
            target=self._run_live if self._live else self._run_lines, name="view", daemon=True
        )

    def __enter__(self) -> View:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, line: str) -> None:
        """Something happened."""
        stamped = f"{self._state.seconds:5.1f} s  {line}"
        self._state.doing = line
        self._state.events.append(stamped)
        if not self._live:
            self._console.print(stamped, markup=False, highlight=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table below everything else."""
        shown = Table(*columns, title=title, title_justify="left")
        for row in rows:
            shown.add_row(*(Text(cell) for cell in row))
        self._console.print(shown)

    def last(self, sentence: str) -> None:
        """Print what everything before it comes to, set apart from it."""
        self._console.print()
        self._console.print(Text(sentence, style="bold"), soft_wrap=True)

    def _run_lines(self) -> None:
        while not self._stop.wait(_LINE_S):
            self._console.print(
                line(self._state, self._rates(self._state)), markup=False, highlight=False, soft_wrap=True
            )

    def _run_live(self) -> None:
        with Live(console=self._console, auto_refresh=False) as live:
            while True:
                ended = self._stop.wait(_PANEL_S)
                live.update(panel(self._title, self._state, self._rates(self._state)), refresh=True)
                if ended:
                    return


def line(state: State, rates: tuple[float, float]) -> str:
    """The state in one line."""
    return " | ".join(f"{name}: {value}" for name, value in _figures(state, rates))


def panel(title: str, state: State, rates: tuple[float, float]) -> Panel:
    """The state as a panel."""
    grid = Table.grid(padding=(0, 2))
    for name, value in _figures(state, rates):
        grid.add_row(Text(name, style="bold"), Text(value, style="red" if name == "errors" and value != "0" else ""))
    return Panel(Group(grid, Text(""), *(Text(event) for event in state.events)), title=title, title_align="left")


def _figures(state: State, rates: tuple[float, float]) -> list[tuple[str, str]]:
    by_route = state.reads.get("by_route", {})
    return [
        ("time", f"{state.seconds:.0f} s"),
        ("phase", state.phase),
        ("route", f"{100 - state.percent} % old, {state.percent} % new"),
        ("copy", state.copied),
        ("lag", ", ".join(f"{store} {lag}" for store, lag in state.lag.items()) or "-"),
        ("writes", f"{rates[0]:.0f}/s, {state.writes.get('acknowledged', 0)} acknowledged"),
        ("reads", f"{rates[1]:.0f}/s, old {by_route.get('old', 0)}, new {by_route.get('new', 0)}"),
        ("errors", str(state.errors())),
    ]


def every(interval_s: float, stop: threading.Event, work: Callable[[], None]) -> threading.Thread:
    """A thread that does ``work`` every ``interval_s`` until ``stop``."""

    def run() -> None:
        while not stop.wait(interval_s):
            work()

    return threading.Thread(target=run, daemon=True)
