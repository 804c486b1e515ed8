"""The processes of a run: workers, load, and commands of ``vecferry``. All end with the run, by their pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..clock import SYSTEM_CLOCK

_GRACE_S = 15.0


class RunError(Exception):
    """The run cannot go on; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command left: exit code, the JSON document on stdout (empty if none), and what it said on stderr."""

    code: int
    data: dict[str, Any]
    said: str

    @property
    def problem(self) -> str:
        """The first problem that it named, "" if none."""
        lines = (json.loads(line) for line in self.said.splitlines() if line.startswith('{"problem"'))
        return next((str(line["problem"]) for line in lines), "")


class Child:
    """One process. ``on_line`` is called, in a thread, with every line of ``watched`` (its stdout or stderr)."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        directory: Path,
        watched: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.out, self.err = directory / f"{name}.out", directory / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            # In a session of its own, so that an interrupt at the terminal reaches this one alone, which ends the rest.
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if watched == "stdout" else out,
                stderr=subprocess.PIPE if watched == "stderr" else err,
                start_new_session=True,
                cwd=directory,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.pid = self._process.pid
        self._pump: threading.Thread | None = None
        pipe = {"stdout": self._process.stdout, "stderr": self._process.stderr}.get(watched)
        if pipe is not None and on_line is not None:
            kept = self.out if watched == "stdout" else self.err
            self._pump = threading.Thread(target=_pump, args=(pipe, kept, on_line), name=f"pump-{name}", daemon=True)
            self._pump.start()

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Block until it has ended and all it said was handed on; raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout_s)
        if self._pump is not None:
            self._pump.join(_GRACE_S)
        return code

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM, SIGKILL after a grace; returns the exit code. Fine for a process that has ended."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def said(self, characters: int = 2_000) -> str:
        """The end of its stderr."""
        return self.err.read_text(errors="replace")[-characters:].strip()


def _pump(pipe: Any, kept: Path, on_line: Callable[[str], None]) -> None:
    with kept.open("ab") as file, pipe:
        for line in pipe:
            file.write(line)
            file.flush()
            on_line(line.decode(errors="replace").rstrip())


class Fleet:
    """Starts processes in ``directory``, and ends those that still run on leaving ``with``, whatever happened."""

    def __init__(self, directory: Path, config: Path, sabotage: str | None) -> None:
        self._directory = directory
        self._config = config
        self._sabotage = sabotage
        self._children: list[Child] = []
        self._workers: dict[str, Child] = {}

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        running = [child for child in self._children if child.code is None]
        for child in running:
            os.kill(child.pid, signal.SIGTERM)
        deadline_s = SYSTEM_CLOCK.monotonic_s() + _GRACE_S
        for child in running:
            try:
                child.wait(max(0.0, deadline_s - SYSTEM_CLOCK.monotonic_s()))
            except subprocess.TimeoutExpired:
                child.kill()

    def worker(self, store: str) -> Child:
        """Start the worker of ``store``; its place is taken by the next one of that store."""
        affected = store == "new" and self._sabotage in ("drop-delete", "stale-write", "corrupt-vector")
        argv = self._vecferry("worker", "--store", store, sabotaged=affected)
        self._workers[store] = self._spawn(f"worker-{store}", argv)
        return self._workers[store]

    def replace_worker(self, store: str) -> int:
        """SIGKILL the worker of ``store`` and start another one; returns the pid of the killed one."""
        killed = self._workers.pop(store)
        killed.kill()
        self.worker(store)
        return killed.pid

    def load(self, what: str, task: Path, on_counts: Callable[[dict[str, Any]], None]) -> Child:
        """Start ``writers`` or ``readers``; ``on_counts`` gets what it reports."""
        argv = [sys.executable, "-m", f"vecferry.proof.{what}", str(task)]
        return self._spawn(what, argv, "stdout", lambda line: on_counts(json.loads(line)))

    def command(self, *words: str) -> Answer:
        """Run ``vecferry WORDS`` to its end."""
        child = self.background(*words)
        return self.finish(child)

    def background(self, *words: str, on_line: Callable[[str], None] = lambda _line: None) -> Child:
        """Start ``vecferry WORDS``; ``on_line`` gets what it says on stderr."""
        affected = words[0] == "start" and self._sabotage == "skip-chunk"
        argv = self._vecferry(*words, "--output", "json", sabotaged=affected)
        name = f"command-{len(self._children)}-{words[0]}"
        return self._spawn(name, argv, "stderr", on_line)

    def finish(self, child: Child) -> Answer:
        """Wait for a command, as long as everything else runs."""
        while child.code is None:
            self.check()
            SYSTEM_CLOCK.sleep_s(0.05)
        code = child.wait()
        text = child.out.read_text()
        return Answer(code=code, data=json.loads(text) if text.strip() else {}, said=child.said())

    def check(self) -> None:
        """Raise RunError when a worker or a load process has ended by itself."""
        for child in [*self._workers.values(), *(c for c in self._children if c.name in ("writers", "readers"))]:
            if child.code not in (None, 0):
                raise RunError(f"{child.name} ended with {child.code}: {child.said()}")

    def _vecferry(self, *words: str, sabotaged: bool) -> list[str]:
        entry = ["vecferry.proof.sabotage", str(self._sabotage)] if sabotaged else ["vecferry"]
        return [sys.executable, "-m", *entry, *words, "--config", str(self._config)]

    def _spawn(
        self, name: str, argv: Sequence[str], watched: str = "", on_line: Callable[[str], None] | None = None
    ) -> Child:
        child = Child(name, argv, self._directory, watched, on_line)
        self._children.append(child)
        return child
