"""Applications that read in a simulation, and users who remember what they were shown."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import numpy as np
from killing import Machine
from log_world import DIMENSION, NAME
from memory_world import MemoryWorld
from simulated_writes import IDS, Writes
from simulation_checks import Truth
from stepped_executor import SteppedExecutor
from vecferry.errors import Inconclusive, Unavailable
from vecferry.log.memory import MemoryLog
from vecferry.reads.deadline import Deadline
from vecferry.reads.letters import DeadLetters
from vecferry.reads.pool import StorePool
from vecferry.reads.reader import Reader
from vecferry.reads.route import whole
from vecferry.reads.router import Router
from vecferry.reads.session import Session
from vecferry.reads.stats import Counters
from vecferry.reads.views import SharedViews
from vecferry.reads.watermarks import Watermarks
from vecferry.schemas.topics import dlq_topic
from vecferry.stores.base import Store

T = TypeVar("T")


class DirectPool(StorePool):
    """Asks the stores in the caller's own thread; ``fails`` says whether one does not answer this time."""

    def __init__(self, machine: Machine, fails: Callable[[], bool]) -> None:
        super().__init__(machine.open_store)
        self._machine = machine
        self._fails = fails

    def open(self, store: str, deadline: Deadline) -> None:
        self.call(store, lambda handle: None, deadline)

    def call(self, store: str, work: Callable[[Store], T], deadline: Deadline) -> T:
        if self._fails():
            raise Unavailable(f"store {store} does not answer")
        return work(self._machine.open_store(store))


class Moves(SteppedExecutor):
    """Runs moves of a route when the seed says so. What one raised is kept in ``faults``."""

    def __init__(self, machine: Machine, faults: list[BaseException]) -> None:
        super().__init__(machine.clock)
        self._faults = faults

    def submit(self, task: Callable[[], T]) -> Future[T]:
        future = super().submit(task)
        future.add_done_callback(self._look)
        return future

    def _look(self, future: Future[T]) -> None:
        if (error := future.exception()) is not None:
            self._faults.append(error)


class Application:
    """One process with a reader. Its tables learn of news when ``hear`` is called, or when a read waits for some."""

    def __init__(
        self,
        world: MemoryWorld,
        machine: Machine,
        chance: random.Random,
        faults: list[BaseException],
        progress_type: type[Watermarks],
    ) -> None:
        self._random = chance
        self._machine = machine
        self.failing = 0.02  # how often a store does not answer, and Kafka
        self.log = MemoryLog(world.broker, machine.clock)
        self.moves = Moves(machine, faults)
        views = SharedViews(self.log, world.namespace, clock=machine.clock)
        counters = Counters()
        pool = DirectPool(machine, lambda: chance.random() < self.failing)

        def end_offsets(timeout_s: float) -> tuple[int, ...]:
            if chance.random() < self.failing:
                raise Unavailable("Kafka does not answer")
            partitions = world.collection.partitions
            return machine.log.admin.end_offsets(world.topic, partitions, stable=True, timeout_s=timeout_s)

        progress = progress_type(
            collection=world.collection,
            table=views.progress,
            end_offsets=end_offsets,
            pool=pool,
            clock=machine.clock,
        )
        router = Router(
            collection=NAME,
            control=views.control,
            without_record=lambda: whole("old"),
            progress=progress,
            connect=pool.open,
            counters=counters,
            clock=machine.clock,
            moves=self.moves,
            wait=self._wait,
        )
        self.reader = Reader(
            collection=world.collection,
            topic=world.topic,
            router=router,
            progress=progress,
            letters=DeadLetters(
                collection=NAME,
                topic=world.topic,
                progress=views.progress,
                open_table=lambda: self.log.table(dlq_topic(world.namespace, NAME)),
                pool=pool,
            ),
            pool=pool,
            counters=counters,
            clock=machine.clock,
        )

    def hear(self) -> None:
        """Take in what is in the tables by now."""
        for table in self.log.tables:
            table.catch_up()

    def _wait(self, changed: threading.Condition, seconds: float) -> None:
        del changed  # there is no other thread that could notify
        if self._random.random() < 0.5 or not self.moves.run_one():
            self._machine.clock.sleep_s(max(seconds, 0.001))


class User:
    """Reads under one key, and remembers the oldest state that each id may still have."""

    def __init__(self, name: str, truth: Truth, session: Session | None = None) -> None:
        self.name = name
        self.session = session
        self._truth = truth
        self._seen: dict[str, int] = {}
        self._reading = 0

    def travel(self) -> None:
        """Go on in another process, if no answer is due here: a session travels as text, a key is forgotten."""
        if self._reading:
            return
        if self.session is None:
            self._seen.clear()
        else:
            self.session = Session.parse(str(self.session))

    def read(self, app: Application, writes: Writes, chance: random.Random) -> bool:
        """Whether an answer came. Asserts that it shows no id older than an earlier answer did, or than asked for."""
        least = dict(self._seen)  # answers that came while this read was under way bind only those that begin later
        after = writes.newest if chance.random() < 0.3 else None
        if after is not None:
            least[after.id] = max(after.state, least.get(after.id, 0))
        token = None if after is None else after.token
        self._reading += 1
        try:
            if chance.random() < 0.5:
                rows = app.reader.get(IDS, after=token, session=self.session, key=self.name)
                shown = {row.id: row.position for row in rows}
                for row in rows:
                    assert float(row.vector[0]) == self._truth.at(row.id, row.position), f"{row.id} has another vector"
            else:
                query = np.ones(DIMENSION, np.float32)
                hits = app.reader.search(query, 100, after=token, session=self.session, key=self.name)
                shown = {hit.id: hit.position for hit in hits}
        except (Inconclusive, Unavailable):
            return False
        finally:
            self._reading -= 1
        for id_ in IDS:
            self._judge(id_, shown.get(id_), least.get(id_, 0))
        return True

    def _judge(self, id_: str, position: int | None, least: int) -> None:
        states = self._truth.states(id_)
        fitting = [at for at in range(least, len(states)) if _shows(states[at], position)]
        what = "is not there" if position is None else f"is at {position}"
        assert fitting, f"{self.name}: {id_} {what}, after state {least} of {states}"
        self._seen[id_] = max(fitting[0], self._seen.get(id_, 0))


def _shows(state: tuple[int | None, float | None], position: int | None) -> bool:
    at, value = state
    return value is None if position is None else at == position
