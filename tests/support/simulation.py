"""A seeded simulation of real workers on a log in memory: no thread, no waiting, every order of events reproducible.

The seed decides who acts next, when a process is killed, and which store answers late. After each action the invariants
of ordering are checked. To look at a failing seed, run ``Simulation(seed).run()`` and read ``history``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from crew import Crew
from log_world import PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld
from simulated_writes import Writes
from simulation_checks import Truth, Watched, check_step, check_whole

CHUNKS = 3
BOUNDS = {"batch_rows": 40, "linger_ms": 0, "commit_interval_ms": 200, "drain_timeout_s": 2}
_SETTLE_STEPS = 400


class Simulation:
    """One world under one seed."""

    def __init__(self, seed: int, store_type: type[MemoryStore] = MemoryStore) -> None:
        self.random = random.Random(seed)
        self.world = MemoryWorld(worker=BOUNDS)
        self.store = store_type(self.world.collection)
        self.store.create(complete=False)
        self.truth = Truth(self.world)
        self.history: list[str] = []
        self.crew = Crew(self.world, self.store, "new", self.random, self.history)
        self.watched = Watched(self.store, "new")
        self.writes = Writes(self.world, self.truth, self.random)
        self._chunks_sent = 0

    def run(self, actions: int = 150) -> None:
        """Act, checking after each action; then let one worker finish in peace, and check the whole."""
        chosen: list[tuple[Callable[[], None], int]] = [
            (self.writes.write, 30),
            (self.crew.step, 60),
            (self.crew.start, 6),
            (self.crew.kill, 4),
            (self.crew.late_write, 6),
            (self.crew.expel, 5),
            (self.crew.stop, 3),
            (self._send_chunk, 3),
            (self._reset_group, 2),
        ]
        verbs, weights = zip(*chosen, strict=True)
        for _ in range(actions):
            act = self.random.choices(verbs, weights)[0]
            self.history.append(act.__name__.strip("_"))
            act()
            check_step(self.truth, self.watched)
        self._settle()
        check_whole(self.truth, self.watched)

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
        self.crew.dismiss()
        while self._chunks_sent <= CHUNKS:
            self._send_chunk()
        process = self.crew.launch(lambda: True)
        for _ in range(_SETTLE_STEPS):
            self.crew.step()
            check_step(self.truth, self.watched)
            if self.truth.is_settled(self.store):
                break
        process.worker.drain()
        process.worker.close()
