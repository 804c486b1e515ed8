"""The workers of one store in a simulation: they start, step, are killed, expelled and stopped as a seed decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from killing import Fuse, Killed
from log_world import NAME
from memory_store import MemoryStore
from memory_world import MemoryWorld
from numpy.typing import NDArray
from stepped_executor import SteppedExecutor
from vecferry.consumers.applying import Abandoned
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import Rejected
from vecferry.log.port import Consumer, Message, OnCommit, Place
from vecferry.schemas.batch import EventBatch, Mark
from vecferry.schemas.topics import group_id
from wrapped_log import WrappedConsumer, WrappedLog

REJECTED = 13.0  # a value that no store takes
MOST = 3


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


class Crew:
    """The workers that feed ``store`` under the name ``name``. Each method is one action; without anyone to act on it
    does nothing."""

    def __init__(
        self, world: MemoryWorld, store: MemoryStore, name: str, chance: random.Random, history: list[str]
    ) -> None:
        self.world = world
        self.store = store
        self.name = name
        self.group = group_id(world.namespace, NAME, name)
        self.alive: list[Process] = []
        self.dead: list[Process] = []  # killed or silent; what they had given to the store may still arrive
        self._random = chance
        self._history = history
        self._made = 0

    def step(self) -> None:
        if self.alive:
            process = self._random.choice(self.alive)
            if process.executor.is_quick():  # the store may be done before anybody asks
                process.executor.run_one()
            self._guarded(process, CollectionWorker.step)

    def start(self) -> None:
        if len(self.alive) < MOST:
            self.launch(lambda: self._random.random() < 0.7)

    def kill(self) -> None:
        if self.alive:
            self._random.choice(self.alive).fuse.left = self._random.randrange(12)

    def late_write(self) -> None:
        """What a killed process had sent to the store before it died arrives only now."""
        if self.dead:
            process = self._random.choice(self.dead)
            process.fuse.left = None
            process.executor.run_one()

    def expel(self) -> None:
        """The broker has heard nothing of a member for too long. It may live, and learn of it at its next poll."""
        members = self.alive + self.dead
        if members:
            self.world.broker.expel(self.group, self._random.choice(members).member)

    def stop(self) -> None:
        if self.alive:
            process = self._random.choice(self.alive)
            self._guarded(process, CollectionWorker.drain)
            self._retire(process)

    def dismiss(self) -> None:
        """Nobody of these works any more."""
        for process in (*self.alive, *self.dead):
            self.world.broker.expel(self.group, process.member)
        self.alive.clear()

    def launch(self, is_quick: Callable[[], bool]) -> Process:
        """A worker that has joined the group."""
        self._made += 1
        fuse, executor = Fuse(), SteppedExecutor(self.world.clock, is_quick)
        log = WrappedLog(self.world.log, lambda inner, on_commit: FusedConsumer(inner, on_commit, fuse))
        handle: Any = StoreHandle(self.store, fuse)
        worker = self.world.worker(handle, executor, name=self.name, instance=f"w{self._made}", log=log)
        process = Process(worker=worker, executor=executor, member=self.world.log.consumers[-1].member, fuse=fuse)
        worker.open()
        self.alive.append(process)
        return process

    def _guarded(self, process: Process, call: Callable[[CollectionWorker], None]) -> None:
        self.world.sync_tables()
        try:
            call(process.worker)
        except Killed:
            self._history.append("killed")
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
