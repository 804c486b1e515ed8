"""A migration on a log in memory where nothing goes wrong by itself: one worker per store, at work while one waits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from crew import Crew
from killing import Machine, machine
from log_world import DIMENSION, NAME, PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld
from simulated_commands import Commands
from vecferry.backfill.context import Context
from vecferry.journal.lease import Lease


class QuietMigration:
    """From ``old`` to ``new``, enrolled. ``rows``: id -> metadata of what the old store holds."""

    def __init__(self, rows: Mapping[str, bytes], backfill: Mapping[str, object] | None = None) -> None:
        sections = {
            "migrations": {NAME: {"from": "old", "to": "new"}},
            "backfill": {"chunk_rows": 3, **(backfill or {})},
        }
        self.world = MemoryWorld(sections=sections, enrolled=False)
        self.stores = {name: MemoryStore(self.world.collection) for name in ("old", "new")}
        vectors = np.random.default_rng(1).standard_normal((len(rows), DIMENSION)).astype(np.float32)
        self.stores["old"].load(list(rows), vectors, list(rows.values()))
        chance = random.Random(1)
        self._commands = Commands(self.world, chance, quick=1.0)
        self._crews = [Crew(self.world, store, name, chance, []) for name, store in self.stores.items()]
        self._commands.enrol(self.machine())
        for crew in self._crews:
            crew.launch(lambda: True)

    def machine(self) -> Machine:
        """What a new process gets."""
        return machine(self.world.broker, self.world.clock, self.stores, lambda: None, self.work)

    def work(self) -> None:
        """Every worker takes a step."""
        for crew in self._crews:
            crew.step()

    def settle(self) -> None:
        """Both stores apply all that was published."""
        ends = self.world.log.admin.end_offsets(self.world.topic, PARTITIONS)
        for _ in range(1_000):
            if all(store.live == dict(enumerate(ends)) for store in self.stores.values()):
                return
            self.world.clock.sleep_s(0.01)
            self.work()
        raise AssertionError(f"{ends} were not applied: {[store.live for store in self.stores.values()]}")

    @contextmanager
    def steering(self) -> Iterator[tuple[Context, Lease]]:
        """The context and the lease of a new process."""
        with self._commands.steering(self.machine(), "test") as pair:
            yield pair
