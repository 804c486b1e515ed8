"""A migration under load, with everything that judges it: processes, traffic, a watch on both stores, a verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from ..clock import SYSTEM_CLOCK
from ..config import load_config
from ..schemas.topics import events_topic
from .catalogue import COLLECTION, Catalogue
from .holdings import NewStore, OldStore
from .load import Task
from .poller import Poller
from .processes import Answer, Child, Fleet, RunError
from .report import Report, percentile
from .verdict import final_comparison, judge_reads
from .view import State, every
from .watch import Watch
from .workload import Popularity
from .world import Say, World

_HOT_IDS = 60
_PAUSE_S = 0.1
_PATIENCE_S = 90.0


class Run:
    """One run under way, inside ``with``; on leaving, all that it started ends. Methods block.

    They raise RunError when the run cannot go on. ``report`` is filled in on the way, ``state`` is what people see.
    """

    def __init__(
        self, world: World, catalogue: Catalogue, *, sabotage: str | None, state: State, report: Report, say: Say
    ) -> None:
        self._world = world
        self._catalogue = catalogue
        self.fleet = Fleet(world.directory, world.config_file, sabotage)
        self._stack = ExitStack()
        self._moved_s: dict[int, float] = {}  # generation -> when its route was written
        self._load: dict[str, Child] = {}
        self._readers = 0
        self.state = state
        self.report = report
        self.say = say

    def __enter__(self) -> Run:
        self._stack.enter_context(self.fleet)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def command(self, verb: str, *words: str, fine: tuple[int, ...] = (0,)) -> Answer:
        """``vecferry VERB products WORDS``, which must end with one of ``fine``."""
        answer = self.fleet.command(verb, COLLECTION, *words)
        if answer.code not in fine:
            raise RunError(f"{verb} ended with {answer.code}: {answer.said}")
        return answer

    def observe(self, seed: int) -> None:
        """Watch lag and outcomes, and poll the positions of the ids that ``seed`` makes the most popular.

        Once the collection is enrolled: before that there is nothing to watch.
        """
        order = Popularity(len(self._catalogue.ids), seed).order
        hot = [self._catalogue.ids[row] for row in order[:_HOT_IDS]]
        self.watch = self._stack.enter_context(closing(Watch(load_config(self._world.config_file), COLLECTION)))
        old = self._stack.enter_context(closing(OldStore(self._world.postgres)))
        new = self._stack.enter_context(closing(NewStore(self._world.lance)))
        self._stores = old, new
        self._poller = self._stack.enter_context(Poller(self._stores, hot))
        stop = threading.Event()
        self._stack.callback(stop.set)
        every(1.0, stop, self._refresh).start()

    def start_load(self, *, data: str, rows: int | None, writers: int, readers: int, rate: float, seed: int) -> None:
        """A worker per store, and ``writers`` and ``readers`` beside them."""
        Task(
            config=str(self._world.config_file),
            topic=events_topic(self._world.namespace, COLLECTION),
            collection=COLLECTION,
            ledgers=str(self._world.ledgers),
            sightings=str(self._world.sightings),
            data=data,
            rows=rows,
            writers=writers,
            readers=readers,
            rate=rate,
            seed=seed,
        ).write(self._world.task_file)
        for store in ("old", "new"):
            self.fleet.worker(store)
        for kind, name in (("writers", "writes"), ("readers", "reads")):
            self._load[kind] = self.fleet.load(kind, self._world.task_file, self._keeper(name))
        self._readers = readers

    def await_traffic(self) -> None:
        """Until both workers report, and writes and reads flow."""
        self.wait(lambda: self.watch.reports("old") and self.watch.reports("new"), "both workers to report")
        self.wait(
            lambda: bool(self.state.writes.get("acknowledged")) and bool(self.state.reads.get("total")),
            "writes and reads to flow",
        )

    def kill_worker(self, store: str) -> int:
        """SIGKILL the worker of ``store`` and start another one; returns the pid of the killed one."""
        self.report["exposure"]["worker_kills"] += 1
        return self.fleet.replace_worker(store)

    def note_move(self, percent: int, route: dict[str, Any]) -> None:
        """The reads have been moved: ``route`` as the command answered it, ``percent`` on the new store."""
        self._moved_s[route["generation"]] = route["changed_unix_s"]
        self.report["cutovers" if percent else "rollbacks"] += 1
        self.state.percent = percent
        self.state.phase = "3 cutover"

    def serve(self, store: str, generation: int, *, answers: int, at_least_s: float) -> None:
        """Until every reader is at ``generation``, ``store`` gave so many ``answers``, and the time is over."""
        before, began_s = self._answers(store), SYSTEM_CLOCK.monotonic_s()

        def moved() -> set[int]:
            return {reader for reader, reached, _ in self.state.reads.get("flips", ()) if reached >= generation}

        def served() -> bool:
            return (
                SYSTEM_CLOCK.monotonic_s() - began_s >= at_least_s
                and len(moved()) == self._readers
                and self._answers(store) - before >= answers
            )

        try:
            self.wait(served, f"every reader to serve generation {generation} and {answers} answers from {store}")
        except RunError as error:
            there = f"readers {sorted(moved())} do, {self._answers(store) - before} answers came"
            raise RunError(f"{error}; {there}; reads failed: {self.state.reads.get('failures')}") from error

    def drain(self) -> None:
        """Stop the writers, wait until both stores have applied all that was acknowledged, then stop the readers."""
        self._end("writers")
        self.wait(lambda: not any(self.watch.lag().values()), "both stores to apply everything")
        self._end("readers")

    def judge(self, copied_s: tuple[float, float]) -> list[str]:
        """Compare stores and reads with the ledger, and fill in the report; returns examples of what was wrong.

        ``copied_s``: when the copy began and ended, in Unix seconds.
        """
        self._poller.stop()
        if self._poller.failure is not None:
            raise RunError(f"stored positions could not be read: {self._poller.failure!r}")
        self.say("comparing both stores with the ledger of acknowledged writes")
        contents, ledgers = self._catalogue.contents(), self._world.ledgers
        examples = final_comparison(self.report, contents, ledgers, self._stores, copied_s)
        examples += judge_reads(self.report, self.state.reads, contents, ledgers, self._world.sightings)
        self._take_figures()
        return [*examples, *self._poller.regressions.examples, *self.state.writes["failures"][:5]]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until ``condition``, while every process of the run is well; patience ends after 90 s."""
        deadline_s = SYSTEM_CLOCK.monotonic_s() + _PATIENCE_S
        while not condition():
            self.pause()
            if SYSTEM_CLOCK.monotonic_s() > deadline_s:
                raise RunError(f"waited {_PATIENCE_S:.0f} s in vain for {what}")

    def pause(self) -> None:
        """A moment, after which every process of the run must still be well."""
        SYSTEM_CLOCK.sleep_s(_PAUSE_S)
        self.fleet.check()

    def _take_figures(self) -> None:
        """What was counted while the run was under way."""
        report, outcomes = self.report, {store: self.watch.outcomes(store) for store in ("old", "new")}
        exposure, new = report["exposure"], outcomes["new"]
        exposure["stale_snapshot_rows"] = {"stale": new.stale, "superseded": new.superseded}
        exposure["stale_snapshot_rows_refused"] = new.stale + new.superseded
        exposure["redelivered"] = sum(counted.redelivered for counted in outcomes.values())
        exposure["polls"] = self._poller.looks
        report["writes"]["failed"] = len(self.state.writes["failures"])
        report["regressed"] = self._poller.regressions.count
        report["route_flip_p99_ms"] = percentile(self._flips_ms(), 0.99)
        report["publish_call_p50_us"] = self.state.writes["publish_call_p50_us"]

    def _flips_ms(self) -> list[float]:
        """Per move and reader, from the writing of the route to the first read that was served by it."""
        return [
            max(0.0, (at_s - self._moved_s[generation]) * 1_000)
            for _, generation, at_s in self.state.reads.get("flips", ())
            if generation in self._moved_s
        ]

    def _refresh(self) -> None:
        self.state.lag = self.watch.lag()
        self.state.regressed = self._poller.regressions.count

    def _keeper(self, name: str) -> Callable[[dict[str, Any]], None]:
        return lambda counts: setattr(self.state, name, counts)

    def _answers(self, store: str) -> int:
        return int(self.state.reads.get("by_route", {}).get(store, 0))

    def _end(self, kind: str) -> None:
        """Let a load process finish what it has under way and report for the last time."""
        child = self._load[kind]
        if (code := child.stop()) != 0:
            raise RunError(f"{child.name} ended with {code}: {child.said()}")
