"""The steps of a run, each as its reader would take it by hand, and what is noted on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from catalogue import COLLECTION
from options import Options
from processes import Answer, Child, DemoError, Fleet
from report import Report
from view import State
from watch import Watch
from world import World

CUTOVERS = (5, 25, 50, 100)
_KILL_WORKER_AT, _KILL_COPY_AT = 25.0, 55.0  # per cent of the copy
_UNCOMMITTED = 10  # events that the killed worker leaves to be read again
_TRIES = 5
_PAUSE_S = 0.1
_PATIENCE_S = 90.0
_STEP_READS, _CANARY_STEP_READS = 50, 5  # answers of the store that gained reads, before the next step

Say = Callable[[str], None]


class Scenario:
    """One run under way. Every step blocks until it is done, and raises DemoError when it cannot be."""

    def __init__(
        self, options: Options, world: World, fleet: Fleet, watch: Watch, state: State, report: Report, say: Say
    ) -> None:
        self._options = options
        self._world = world
        self._fleet = fleet
        self._watch = watch
        self._state = state
        self._report = report
        self._say = say
        self._moved_s: dict[int, float] = {}  # generation -> when its route was written
        self._percent = 0.0
        self.copy_began_s = self.copy_ended_s = 0.0

    def set_going(self) -> tuple[Child, Child]:
        """A worker per store, writers and readers, and meanwhile ``vecferry plan``; returns writers and readers."""
        asked = self._options
        self._say(f"starting a worker per store, {asked.writers} writers ({asked.rate:g}/s), {asked.readers} readers")
        for store in ("old", "new"):
            self._fleet.worker(store)
        task = self._world.task_file
        writers = self._fleet.load("writers", task, lambda counts: setattr(self._state, "writes", counts))
        readers = self._fleet.load("readers", task, lambda counts: setattr(self._state, "reads", counts))
        plan = self._must(self._fleet.command("plan", COLLECTION)).data["plan"]
        self._say(f"plan: {plan['rows']} rows in {plan['chunks']} chunks")
        self._wait(lambda: self._watch.reports("old") and self._watch.reports("new"), "both workers to report")
        self._wait(self._has_traffic, "writes and reads to flow")
        return writers, readers

    def copy(self) -> None:
        """``vecferry start``, during which the new store's worker and then the copy itself are killed with -9."""
        self._state.phase = "1 dual write and backfill"
        self._say("copying what the application already has")
        child, exposure = self._start(), self._report["exposure"]
        while child.code is None:
            self._fleet.check()
            percent = self._percent
            if (
                percent >= _KILL_WORKER_AT
                and not exposure["worker_kills"]
                and (percent >= _KILL_COPY_AT or self._watch.uncommitted("new") >= _UNCOMMITTED)
            ):
                worker = self._fleet.replace_worker("new")
                exposure["worker_kills"] += 1
                self._say(
                    f"kill -9 of the new store's worker, process {worker}, at {percent:.0f} %; another one starts"
                )
            if percent >= _KILL_COPY_AT and not exposure["backfill_kills"] and not self.copy_ended_s:
                child.kill()
                exposure["backfill_kills"] += 1
                self._say(f"kill -9 of the copy, process {child.pid}, at {percent:.0f} %; the same command again")
                child = self._start()
            time.sleep(_PAUSE_S)
        self._must(self._fleet.finish(child))
        seconds = self.copy_ended_s - self.copy_began_s
        self._report["backfill"]["rows_per_s"] = self._report["backfill"]["rows"] / seconds if seconds > 0 else 0.0
        self._state.copied = f"done, {self._report['backfill']['rows']} rows"
        self._say(f"copied {self._report['backfill']['rows']} rows in {seconds:.1f} s, applied and indexed")

    def verify(self) -> bool:
        """``vecferry verify``; whether the two stores hold the same."""
        self._say("comparing both stores while writes go on")
        for _ in range(_TRIES):
            answer = self._fleet.command("verify", COLLECTION)
            if answer.code != 4:
                break
        if answer.code not in (0, 1):
            self._must(answer)
        found = answer.data["report"]
        counts = {name: found[name] for name in ("missing", "extra", "stale", "corrupt")}
        self._report["verify"] = counts
        self._say(f"verified {found['checked']} rows: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
        for example in found["examples"][:3]:
            self._say(f"  {example['id']}: {example['fault']}, {example['reason']}")
        return answer.code == 0

    def is_refused(self) -> None:
        """Show that a gate stops the cutover of stores that differ."""
        answer = self._fleet.command("cutover", COLLECTION, "--to", "5")
        if answer.code != 3:
            raise DemoError(f"a cutover between stores that differ ended with {answer.code}: {answer.said}")
        self._say("cutover refused by the verification gate; on to the final comparison")

    def move(self, percent: int) -> None:
        """``vecferry cutover --to PERCENT``, or ``rollback`` for 0; then let the new route serve for a while."""
        words = ("cutover", COLLECTION, "--to", str(percent)) if percent else ("rollback", COLLECTION)
        for _ in range(_TRIES):
            answer = self._fleet.command(*words)
            if answer.code not in (3, 4):
                break
            self._say(f"{words[0]} has to wait: {answer.said.splitlines()[0] if answer.said else 'a gate'}")
            time.sleep(1.0)
        route = self._must(answer).data["route"]
        self._moved_s[route["generation"]] = route["changed_unix_s"]
        self._report["cutovers" if percent else "rollbacks"] += 1
        self._state.percent = percent
        self._state.phase = "3 cutover"
        self._say(f"{words[0]}: reads are {percent} % on new (generation {route['generation']})")
        wanted = _CANARY_STEP_READS if 0 < percent < 100 else _STEP_READS
        self._serve("new" if percent else "old", route["generation"], wanted)

    def drain(self, writers: Child, readers: Child) -> None:
        """Stop the writers, wait until both stores have applied all that was acknowledged, then stop the readers."""
        self._say("writers stop; waiting until both stores have applied everything")
        _end(writers)
        self._wait(lambda: not any(self._watch.lag().values()), "both stores to apply everything")
        _end(readers)

    def flips_ms(self) -> list[float]:
        """Per move and reader, from the writing of the route to the first read that was served by it."""
        return [
            max(0.0, (at_s - self._moved_s[generation]) * 1_000)
            for _, generation, at_s in self._state.reads.get("flips", ())
            if generation in self._moved_s
        ]

    def _start(self) -> Child:
        self._percent = 0.0
        return self._fleet.background("start", COLLECTION, on_line=self._on_copy_line)

    def _on_copy_line(self, line: str) -> None:
        if line.startswith("copying about") and not self.copy_began_s:
            self.copy_began_s = time.time()
        if not line.startswith("{"):
            return
        progress: dict[str, Any] = json.loads(line)
        if progress["phase"] == "copying":
            self._percent = progress["percent"]
        if progress["phase"] == "copied":
            self.copy_ended_s = time.time()
            self._report["backfill"]["rows"] = progress["rows"]
        self._state.copied = f"{progress['phase']} {progress['percent']:.0f} %, {progress['rows']} rows"

    def _serve(self, store: str, generation: int, reads: int) -> None:
        before = self._answers(store)
        began_s = time.monotonic()

        def moved() -> set[int]:
            return {reader for reader, reached, _ in self._state.reads.get("flips", ()) if reached >= generation}

        def served() -> bool:
            return (
                time.monotonic() - began_s >= self._options.step_s
                and len(moved()) == self._options.readers
                and self._answers(store) - before >= reads
            )

        try:
            self._wait(served, f"every reader to serve generation {generation} and {reads} answers from {store}")
        except DemoError as error:
            there = f"readers {sorted(moved())} do, {self._answers(store) - before} answers came"
            raise DemoError(f"{error}; {there}; reads failed: {self._state.reads.get('failures')}") from error

    def _answers(self, store: str) -> int:
        return int(self._state.reads.get("by_route", {}).get(store, 0))

    def _has_traffic(self) -> bool:
        return bool(self._state.writes.get("acknowledged")) and bool(self._state.reads.get("total"))

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not condition():
            self._fleet.check()
            if time.monotonic() > deadline_s:
                raise DemoError(f"waited {_PATIENCE_S:.0f} s in vain for {what}")
            time.sleep(_PAUSE_S)

    def _must(self, answer: Answer) -> Answer:
        if answer.code != 0:
            raise DemoError(f"a command ended with {answer.code}: {answer.said}")
        return answer


def _end(child: Child) -> None:
    """Let a load process finish what it has under way and report for the last time."""
    code = child.stop()
    if code != 0:
        raise DemoError(f"{child.name} ended with {code}: {child.said()}")
