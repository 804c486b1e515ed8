"""``vecferry start`` under way: how far it is, and how to kill it."""

from __future__ import annotations

import json
from typing import Any

from ..clock import SYSTEM_CLOCK
from .catalogue import COLLECTION
from .processes import Child, RunError
from .run import Run


class Copy:
    """The copy of a run, begun when this is made; what it says is noted in the run's report and state.

    ``percent`` is of the process that is copying now. ``began_s`` and ``ended_s``, in Unix seconds, are those of the
    whole copy, 0 before.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.percent = 0.0
        self.began_s = self.ended_s = 0.0
        self._child = self._start()

    def is_running(self) -> bool:
        """Whether the command has not ended."""
        return self._child.code is None

    def kill(self) -> int:
        """SIGKILL it and give the same command again; returns the pid of the killed process."""
        killed = self._child
        killed.kill()
        self._run.report["exposure"]["backfill_kills"] += 1
        self._child = self._start()
        return killed.pid

    def finish(self) -> float:
        """How long it took, once it has ended; raises RunError when it failed."""
        answer = self._run.fleet.finish(self._child)
        if answer.code != 0:
            raise RunError(f"start ended with {answer.code}: {answer.said}")
        seconds, backfill = self.ended_s - self.began_s, self._run.report["backfill"]
        backfill["rows_per_s"] = backfill["rows"] / seconds if seconds > 0 else 0.0
        self._run.state.copied = f"done, {backfill['rows']} rows"
        return seconds

    def _start(self) -> Child:
        self.percent = 0.0
        return self._run.fleet.background("start", COLLECTION, on_line=self._on_line)

    def _on_line(self, line: str) -> None:
        if line.startswith("copying about") and not self.began_s:
            self.began_s = SYSTEM_CLOCK.unix_s()
        if not line.startswith("{"):
            return
        progress: dict[str, Any] = json.loads(line)
        if "phase" not in progress:  # a problem
            return
        if progress["phase"] == "copying":
            self.percent = progress["percent"]
        if progress["phase"] == "copied":
            self.ended_s = SYSTEM_CLOCK.unix_s()
            self._run.report["backfill"]["rows"] = progress["rows"]
        self._run.state.copied = f"{progress['phase']} {progress['percent']:.0f} %, {progress['rows']} rows"
