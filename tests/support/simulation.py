"""A seeded simulation of real workers on a log in memory: no thread, no waiting, every order of events reproducible.

The seed decides who acts next, when a process is killed, and which store answers late. After each action the invariants
of ordering are checked. To look at a failing seed, run ``Simulation(seed).run()`` and read ``history``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from log_world import PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld
from numpy.typing import NDArray
from simulation_checks import Truth, check_step, check_whole
from stepped_executor import SteppedExecutor
from vecferry.consumers.applying import Abandoned
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import Rejected
from vecferry.log.port import Consumer, Message, OnCommit, Place
from vecferry.schemas.batch import EventBatch, Mark
from wrapped_log import WrappedConsumer, WrappedLog

IDS = [f"id-{number}" for number in range(8)]
REJECTED = 13.0  # a value that no store takes
CHUNKS = 3
BOUNDS = {"batch_rows": 40, "linger_ms": 0, "commit_interval_ms": 200, "drain_timeout_s": 2}
_SETTLE_STEPS = 400


class Killed(BaseException):
    """The process was killed here; no ``except Exception`` may notice."""


@dataclass(slots=True)
class Fuse:
    """Kills a process at the n-th moment from now at which it touches log or store."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class FusedConsumer(WrappedConsumer):
    """A consumer of a process that may be killed before or after each call."""

    def __init__(self, inner: Consumer, on_commit: OnCommit, fuse: Fuse) -> None:
        super().__init__(inner, on_commit)
        self._fuse = fuse

    def poll(self, timeout_s: float) -> Message | None:
        self._fuse.burn()
        return super().poll(timeout_s)

    def read(self, starts: Mapping[Place, int]) -> None:
        self._fuse.burn()
        super().read(starts)
        self._fuse.burn()

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        self._fuse.burn()
        super().commit(offsets, wait=wait)
        self._fuse.burn()


class StoreHandle:
    """One process's connection to the store that all share."""

    def __init__(self, store: MemoryStore, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        self._fuse.burn()
        if (batch.vectors[:, :1] == REJECTED).any():
            raise Rejected("13 violates a check constraint")
        outcomes = self._store.apply(batch, marks)
        self._fuse.burn()
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass(slots=True)
class Process:
    """A worker with what it has of its own."""

    worker: CollectionWorker
    executor: SteppedExecutor
    member: int
    fuse: Fuse = field(default_factory=Fuse)


class Simulation:
    """One world under one seed."""

    def __init__(self, seed: int, store_type: type[MemoryStore] = MemoryStore) -> None:
        self.random = random.Random(seed)
        self.world = MemoryWorld(worker=BOUNDS)
        self.store = store_type(self.world.collection)
        self.store.create(complete=False)
        self.truth = Truth(self.world)
        self.alive: list[Process] = []
        self.dead: list[Process] = []  # killed or silent; what they had given to the store may still arrive
        self.history: list[str] = []
        self._next_value = 100.0
        self._chunks_sent = 0
        self._made = 0

    def run(self, actions: int = 150) -> None:
        """Act, checking after each action; then let one worker finish in peace, and check the whole."""
        chosen: list[tuple[Callable[[], None], int]] = [
            (self._write, 30),
            (self._step, 60),
            (self._start, 6),
            (self._kill, 4),
            (self._late_write, 6),
            (self._expel, 5),
            (self._stop, 3),
            (self._send_chunk, 3),
            (self._reset_group, 2),
        ]
        verbs, weights = zip(*chosen, strict=True)
        for _ in range(actions):
            act = self.random.choices(verbs, weights)[0]
            self.history.append(act.__name__.strip("_"))
            act()
            check_step(self.truth, self.store)
        self._settle()
        check_whole(self.truth, self.store)

    def _write(self) -> None:
        id_ = self.random.choice(IDS)
        match self.random.choices(("upsert", "delete", "junk", "rejected"), (60, 25, 3, 5))[0]:
            case "upsert":
                self._next_value += 1
                self.truth.upserted(id_, self.world.upsert(id_, self._next_value), self._next_value)
            case "delete":
                self.truth.deleted(id_, self.world.delete(id_))
            case "junk":
                self.truth.undecodable(id_, self.world.junk(id_))
            case "rejected":
                self.truth.refused(id_, self.world.upsert(id_, REJECTED))

    def _step(self) -> None:
        if self.alive:
            self._guarded(self.random.choice(self.alive), CollectionWorker.step)

    def _start(self) -> None:
        if len(self.alive) < 3:
            self._launch(lambda: self.random.random() < 0.7)

    def _kill(self) -> None:
        if self.alive:
            self.random.choice(self.alive).fuse.left = self.random.randrange(12)

    def _late_write(self) -> None:
        """What a killed process had sent to the store before it died arrives only now."""
        if self.dead:
            process = self.random.choice(self.dead)
            process.fuse.left = None
            process.executor.run_one()

    def _expel(self) -> None:
        """The broker has heard nothing of a member for too long. It may live, and learn of it at its next poll."""
        members = self.alive + self.dead
        if members:
            self.world.broker.expel(self.world.group, self.random.choice(members).member)

    def _stop(self) -> None:
        if self.alive:
            process = self.random.choice(self.alive)
            self._guarded(process, CollectionWorker.drain)
            self._retire(process)

    def _send_chunk(self) -> None:
        """A mover sends the next chunk of rows that it had read before the first event was published."""
        if self._chunks_sent == 0:
            self.world.open_run("r1", CHUNKS)
        if self._chunks_sent < CHUNKS:
            self.world.send_chunk("r1", self._chunks_sent, self.truth.base_rows(self._chunks_sent, CHUNKS), CHUNKS)
            self._chunks_sent += 1
        elif self._chunks_sent == CHUNKS:
            self.world.close_run("r1", CHUNKS)
            self._chunks_sent += 1

    def _reset_group(self) -> None:
        """Somebody moves the offsets of the group, back or to the end, while nobody reads."""
        if not self.world.broker.group(self.world.group).members:
            ends = self.world.log.admin.end_offsets(self.world.topic, PARTITIONS)
            offsets = {partition: self.random.choice((0, end)) for partition, end in enumerate(ends)}
            self.world.log.admin.commit(self.world.group, self.world.topic, offsets)

    def _settle(self) -> None:
        for process in (*self.alive, *self.dead):
            self.world.broker.expel(self.world.group, process.member)
        self.alive.clear()
        while self._chunks_sent <= CHUNKS:
            self._send_chunk()
        process = self._launch(lambda: True)
        for _ in range(_SETTLE_STEPS):
            process.worker.step()
            check_step(self.truth, self.store)
            if self.truth.is_settled(self.store):
                break
        process.worker.drain()
        process.worker.close()

    def _launch(self, is_quick: Callable[[], bool]) -> Process:
        self._made += 1
        fuse, executor = Fuse(), SteppedExecutor(self.world.clock, is_quick)
        log = WrappedLog(self.world.log, lambda inner, on_commit: FusedConsumer(inner, on_commit, fuse))
        handle: Any = StoreHandle(self.store, fuse)
        worker = self.world.worker(handle, executor, instance=f"w{self._made}", log=log)
        process = Process(worker=worker, executor=executor, member=self.world.log.consumers[-1].member, fuse=fuse)
        worker.open()
        self.alive.append(process)
        return process

    def _guarded(self, process: Process, call: Callable[[CollectionWorker], None]) -> None:
        self.world.sync_tables()
        try:
            call(process.worker)
        except Killed:
            self.history.append("killed")
            self.alive.remove(process)
            self.dead.append(process)
        except Abandoned:
            self._retire(process)

    def _retire(self, process: Process) -> None:
        if process in self.alive:
            self.alive.remove(process)
            try:
                process.worker.close()
            except Killed:
                self.dead.append(process)
