"""A seeded simulation of a whole migration on a log in memory: workers of both stores, mover, controllers, readers.

Whatever a command or a read touches, and whenever it sleeps, others act before it goes on: events are published,
workers step and die, users read, a second operator gives another command. So a seed decides in which order everything
happens, and where each process is killed. To look at a failing seed: ``MigrationSimulation(seed).run()``, ``history``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from crew import Crew
from killing import Fuse, Killed, Machine, TouchedStore, machine
from log_world import DIMENSION, NAME
from memory_store import MemoryStore
from memory_world import MemoryWorld
from simulated_commands import Commands
from simulated_reads import Application, User
from simulated_writes import Writes
from simulation import BOUNDS
from simulation_checks import Truth, Watched, check_runs, check_step, check_whole
from vecferry.errors import Inconclusive, Refused, Unavailable
from vecferry.journal.run import RunRecord
from vecferry.journal.runs import read_runs
from vecferry.migration.gates import Verdict
from vecferry.reads.session import Session
from vecferry.reads.watermarks import Watermarks
from vecferry.schemas.topics import control_topic

CHUNK_ROWS = 2
_SECTIONS = {"migrations": {NAME: {"from": "old", "to": "new"}}, "backfill": {"chunk_rows": CHUNK_ROWS}}
_DEPTH = 3  # of actions inside actions
_BETWEEN = 0.15  # how often somebody acts at a touch
_WORKING = 0.6  # how often a worker steps while somebody sleeps
_LEASE_S = 11.0  # after that a controller that is gone keeps nobody waiting
_TRIES = 12
_SETTLE_RESTS = 200


class MigrationSimulation:
    """One world under one seed. ``way``: how commands reach the stores; ``progress``: how readers learn of it."""

    def __init__(
        self,
        seed: int,
        *,
        stores: type[MemoryStore] = MemoryStore,
        way: type[TouchedStore] = TouchedStore,
        progress: type[Watermarks] = Watermarks,
    ) -> None:
        self.random = random.Random(seed)
        self.history: list[str] = []
        self.faults: list[BaseException] = []
        self.world = MemoryWorld(worker=BOUNDS, sections=_SECTIONS, enrolled=False)
        self.truth = Truth(self.world)
        self.stores = {name: stores(self.world.collection) for name in ("old", "new")}
        self._load()
        self.watched = [Watched(store, name) for name, store in self.stores.items()]
        self.crews = [Crew(self.world, store, name, self.random, self.history) for name, store in self.stores.items()]
        self.faulty = seed % 5 == 4  # with a dead letter reads are never moved, so most seeds have none
        self.writes = Writes(self.world, self.truth, self.random, faulty=self.faulty)
        self.commands = Commands(self.world, self.random)
        self._way, self._progress_type = way, progress
        self.apps = [self._application() for _ in range(2)]
        self.users = [User(f"s{number}", self.truth, Session()) for number in range(3)]
        self.keyed = [[User(f"k{number}", self.truth) for number in range(2)] for _ in self.apps]
        self._depth = 0
        self._peaceful = False
        self._left = 0  # actions until peace
        self._next = "start"  # the command that is due
        self._actions = self._weighted()

    def run(self, actions: int = 500) -> None:
        """Enrol, act, then let everything end in peace; checks after each action. Raises AssertionError."""
        while not self._command("enrol", self.commands.enrol):
            self.world.clock.sleep_s(_LEASE_S)
        self._left = actions
        while self._left > 0:
            self._act()
        self._settle()
        if self.faults:
            raise self.faults[0]

    def runs(self) -> list[RunRecord]:
        """All runs, as they are journaled now."""
        control = self.world.log.table(control_topic(self.world.namespace))
        control.sync()
        return list(read_runs(control, NAME).values())

    def _load(self) -> None:
        ids = sorted(self.truth.base)
        vectors = np.array([[self.truth.base[id_]] * DIMENSION for id_ in ids], np.float32)
        self.stores["old"].load(ids, vectors, [b"{}"] * len(ids))

    def _weighted(self) -> tuple[list[Callable[[], None]], list[int]]:
        chosen: list[tuple[Callable[[], None], int]] = [
            (self.writes.write, 15),
            (self._read, 24),
            (self._travel, 3),
            (self._restart, 1),
            (self._run_move, 20),
            (self._steer, 16),
            (lambda: self.world.clock.sleep_s(4.0), 2),
        ]
        for crew in self.crews:
            chosen += [(crew.step, 15), (crew.start, 9), (crew.kill, 1), (crew.late_write, 2), (crew.expel, 1)]
            chosen.append((crew.stop, 1))
        verbs, weights = zip(*chosen, strict=True)
        return list(verbs), list(weights)

    def _act(self) -> None:
        self._left -= 1
        verbs, weights = self._actions
        act = self.random.choices(verbs, weights)[0]
        self.history.append("." * self._depth + getattr(act, "__name__", "act").strip("_"))
        with self._inside():
            act()
            for watched in self.watched:
                check_step(self.truth, watched)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        except Exception as error:
            self.faults.append(error)  # what runs around this action may take it for an error of its own
            raise
        finally:
            self._depth -= 1

    def _touch(self, fuse: Fuse) -> None:
        """A process touches something: it may die of it, and others act before it goes on."""
        fuse.burn()
        if self._depth == _DEPTH or self.random.random() >= _BETWEEN:
            return
        if self._left > 0:
            self._act()
        elif self._peaceful:  # a route may still move under a read
            with self._inside():
                self._run_move()

    def _meanwhile(self, fuse: Fuse) -> None:
        """A process has slept: the workers had time to work."""
        self._work()
        self._touch(fuse)

    def _work(self) -> None:
        if self._depth == _DEPTH:
            return
        with self._inside():
            for crew, watched in zip(self.crews, self.watched, strict=True):
                if self._peaceful or self.random.random() < _WORKING:
                    crew.step()
                    check_step(self.truth, watched)

    def _machine(self, fuse: Fuse) -> Machine:
        touch, meanwhile = partial(self._touch, fuse), partial(self._meanwhile, fuse)
        return machine(self.world.broker, self.world.clock, self.stores, touch, meanwhile, self._way)

    def _application(self) -> Application:
        return Application(self.world, self._machine(Fuse()), self.random, self.faults, self._progress_type)

    def _read(self) -> None:
        at = self.random.randrange(len(self.apps))
        app = self.apps[at]
        if self.random.random() < 0.9:
            app.hear()
        user = self.random.choice([self.users[at], self.users[2], *self.keyed[at]])
        if user is self.users[2]:
            user.travel()
        user.read(app, self.writes, self.random)

    def _travel(self) -> None:
        self.random.choice(self.users).travel()

    def _restart(self) -> None:
        """An application is started anew; its users come back, those without a session as new ones."""
        at = self.random.randrange(len(self.apps))
        self.apps[at] = self._application()
        self.keyed[at] = [User(f"k{number}", self.truth) for number in range(2)]
        self.users[at].travel()

    def _run_move(self) -> None:
        for app in self.apps:
            app.moves.run_one()

    def _steer(self) -> None:
        """An operator gives the command that is due, or some other one, in a terminal that may be closed any time."""
        if self._depth > 1 and self.random.random() < 0.7:
            return  # most of them would be refused: another operator is at work
        verbs = self._verbs()
        name = self._next if self.random.random() < 0.7 else self.random.choice(sorted(verbs))
        if name == "cutover":
            percent = self.random.choice((0, 20, 60, 100))
            self._command(f"cutover --to {percent}", partial(self._move, percent=percent))
        else:
            self._command(name, verbs[name])

    def _verbs(self) -> dict[str, Callable[[Machine], object]]:
        def start(own: Machine, *, new_run: bool = False) -> None:
            self.commands.start(own, new_run=new_run)
            self._next = "verify"

        def verify(own: Machine) -> None:
            self._next = "cutover" if self.commands.verify(own) else "verify"

        def cancel(own: Machine) -> None:
            self.commands.cancel(own)
            self._next = "start"

        return {
            "start": start,
            "start --new-run": partial(start, new_run=True),
            "verify": verify,
            "cancel": cancel,
            "cutover": self._move,
        }

    def _move(self, own: Machine, percent: int = 0) -> None:
        move = self.commands.move(own, percent)
        failed = "; ".join(gate.line() for gate in move.gates if gate.verdict is not Verdict.PASS)
        if failed:
            self._next = "verify"
            raise Inconclusive(failed)

    def _command(self, name: str, work: Callable[[Machine], object]) -> bool:
        """Whether the command came to its end."""
        longest = self.random.choice((None, None, None, 8, 60, 120, 120))
        fuse = Fuse(None if self._peaceful or longest is None else self.random.randrange(longest))
        try:
            work(self._machine(fuse))
        except Killed:
            self.history.append(f"{name} was killed")
            if self.random.random() < 0.5:
                self.world.clock.sleep_s(_LEASE_S)
        except (Refused, Inconclusive, Unavailable) as error:
            self.history.append(f"{name}: {error}")
        else:
            self.history.append(f"{name} is done")
            return True
        return False

    def _settle(self) -> None:
        """In peace the migration comes to its end, and reads go to the target and back."""
        self._peaceful, self.commands.quick = True, 1.0
        for crew in self.crews:
            crew.dismiss()
            crew.launch(lambda: True)
        for app in self.apps:
            app.failing = 0.0
        self._insist("start", self.commands.start)
        assert self.faulty or self._insist("verify", self.commands.verify), self.history[-1]
        for percent in (100, 0):
            if not self.faulty:
                self._insist(f"cutover --to {percent}", partial(self._move, percent=percent))
                self._read_until(percent)
        for crew, watched in zip(self.crews, self.watched, strict=True):
            for _ in range(_SETTLE_RESTS):
                if self.truth.is_settled(watched.store) and self.truth.has_committed(watched.name):
                    break
                self._rest(0.2)
            for process in list(crew.alive):
                process.worker.drain()
                process.worker.close()
            check_whole(self.truth, watched)
        check_runs(self.truth)

    def _insist(self, name: str, work: Callable[[Machine], object]) -> bool:
        """Give a command until it comes to its end: whoever held the lease before is soon forgotten."""
        for _ in range(_TRIES):
            if self._command(name, work):
                return True
            self._rest(_LEASE_S)
        raise AssertionError(f"{self.history[-1]}, {_TRIES} times")

    def _rest(self, seconds: float) -> None:
        until_s = self.world.clock.now_s + seconds
        while self.world.clock.now_s < until_s:
            self.world.clock.sleep_s(0.2)
            self._work()

    def _read_until(self, percent: int) -> None:
        """Everybody reads until both applications serve the route at ``percent``."""
        for _ in range(_TRIES):
            for app, users in zip(self.apps, self.keyed, strict=True):
                app.hear()
                assert all(user.read(app, self.writes, self.random) for user in users), "a read failed in peace"
                while app.moves.run_one():
                    pass
            self._rest(1.0)
            routes = [app.reader.route for app in self.apps]
            if all(route is not None and route.percent == percent for route in routes):
                return
        raise AssertionError(f"reads do not move to {percent} %: {routes}")
