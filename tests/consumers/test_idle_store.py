"""A store that loses writes while nobody writes: its worker says so, instead of reporting what is no longer there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from memory_store import MemoryStore
from memory_world import MemoryWorld, partition_of
from stepped_executor import SteppedExecutor
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import Fatal

PARTITION = partition_of("a")


class Working:
    """A worker that has joined, and the thread that applies for it."""

    def __init__(self, world: MemoryWorld, store: MemoryStore, instance: str) -> None:
        self._world = world
        self._executor = SteppedExecutor(world.clock)
        self.worker: CollectionWorker = world.worker(store, self._executor, instance=instance)
        self.worker.open()

    def work(self, seconds: float) -> None:
        until_s = self._world.clock.now_s + seconds
        while self._world.clock.now_s < until_s:
            self.worker.step()
            self._executor.run_one()

    def leave(self) -> None:
        self.worker.drain()
        self.worker.close()


def with_three_events(before: Callable[[str], None] = lambda method: None) -> tuple[MemoryWorld, MemoryStore]:
    world = MemoryWorld()
    for value in range(3):
        world.upsert("a", float(value))
    store = MemoryStore(world.collection, before)
    store.create(complete=False)
    return world, store


@pytest.mark.parametrize("wrote_them_itself", [True, False])
def test_a_worker_ends_when_its_idle_store_lacks_what_it_had_applied(wrote_them_itself: bool) -> None:
    world, store = with_three_events()
    working = Working(world, store, "one")
    working.work(2.0)
    if not wrote_them_itself:
        working.leave()
        working = Working(world, store, "two")
    working.work(12.0)  # nothing is wrong yet
    assert store.live[PARTITION] == 3
    store.live[PARTITION] = 1
    with pytest.raises(Fatal, match=f"partition {PARTITION} up to offset 1, after it had acknowledged 3"):
        working.work(12.0)
    working.worker.close()
    anew = Working(world, store, "three")
    anew.work(2.0)
    assert store.live[PARTITION] == 3
    anew.leave()


def test_an_idle_store_is_asked_now_and_then() -> None:
    asked: list[str] = []
    world, store = with_three_events(asked.append)
    working = Working(world, store, "one")
    working.work(2.0)
    del asked[:]
    working.work(20.0)
    assert 2 <= asked.count("applied") == len(asked) <= 4
    working.leave()
