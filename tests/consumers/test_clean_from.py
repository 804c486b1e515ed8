"""A worker says from where on no event became a dead letter, never more than it knows, and readers hear it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from log_world import NAME, PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld, partition_of
from numpy.typing import NDArray
from stepped_executor import SteppedExecutor
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import DeadLettered, Rejected
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.journal.reading import known
from vecferry.log.port import Table
from vecferry.reads.deadline import deadline_in
from vecferry.reads.letters import DeadLetters
from vecferry.reads.pool import StorePool
from vecferry.schemas.batch import EventBatch, Mark
from vecferry.schemas.position import encode_position, next_offset
from vecferry.schemas.tokens import Run
from vecferry.schemas.topics import dlq_topic, progress_topic

HOME = partition_of("a")


class Picky(MemoryStore):
    """Rejects vectors of 13."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if (batch.vectors[:, :1] == 13.0).any():
            raise Rejected("violates a check constraint")
        return super().apply(batch, marks)


class Scene:
    """A worker of store "new" and a reader's view of its letters, on a log in memory."""

    def __init__(self) -> None:
        self.world = MemoryWorld(worker={"linger_ms": 0})
        self.store = Picky(self.world.collection)
        self.store.create(complete=True)
        self.progress = self.world.log.table(progress_topic(self.world.namespace))
        self.pool = StorePool(lambda name: self.store)
        self.opened = 0
        self.letters = DeadLetters(
            collection=NAME,
            topic=self.world.topic,
            progress=lambda: self.progress,
            open_table=self._open,
            pool=self.pool,
        )

    def _open(self) -> Table:
        self.opened += 1
        return self.world.log.table(dlq_topic(self.world.namespace, NAME))

    def worker(self, instance: str) -> CollectionWorker:
        self.executor = SteppedExecutor(self.world.clock)
        worker = self.world.worker(self.store, self.executor, instance=instance)
        worker.open()
        while len(worker.owned) < PARTITIONS:
            worker.step()
        return worker

    def applied(self, worker: CollectionWorker, offset: int) -> None:
        """Let ``worker`` apply up to the event at ``offset``, and say so."""
        for _ in range(20):
            worker.step()
            self.executor.run_one()
        assert self.store.live[HOME] > offset
        self.progress.sync()

    def clean_from(self) -> int | None:
        record = known(self.progress, live_progress_key(NAME, "new", HOME), LiveProgress)
        assert record is not None
        return record.clean_from

    def wait_for(self, offset: int) -> None:
        position = encode_position(1, offset)
        self.letters.refuse("new", [Run(HOME, position, position)], deadline_in(5.0, self.world.clock))


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.pool.close()


def test_whoever_waits_for_a_refused_write_learns_it_after_a_restart_of_the_worker_too(scene: Scene) -> None:
    worker = scene.worker("one")
    good, bad = scene.world.upsert("a", 1.0), scene.world.upsert("a", 13.0)
    scene.applied(worker, bad)
    assert scene.clean_from() == next_offset(bad)
    with pytest.raises(DeadLettered, match="check constraint"):
        scene.wait_for(bad)
    scene.wait_for(good)
    worker.drain()
    worker.close()
    later = scene.worker("two")
    scene.applied(later, bad)
    assert scene.clean_from() == next_offset(bad)  # where the new worker began
    with pytest.raises(DeadLettered):
        scene.wait_for(bad)


def test_nobody_reads_the_letters_while_none_was_posted(scene: Scene) -> None:
    worker = scene.worker("one")
    offset = scene.world.upsert("a", 1.0)
    scene.applied(worker, offset)
    assert scene.clean_from() == 0
    scene.wait_for(offset)
    assert scene.opened == 0


def test_a_redelivered_letter_is_not_called_clean(scene: Scene) -> None:
    worker = scene.worker("one")
    bad = scene.world.upsert("a", 13.0)
    scene.applied(worker, bad)
    worker.drain()
    worker.close()
    scene.world.log.admin.commit(scene.world.group, scene.world.topic, dict.fromkeys(range(PARTITIONS), 0))
    scene.applied(scene.worker("two"), bad)
    assert scene.clean_from() == next_offset(bad)
    with pytest.raises(DeadLettered):
        scene.wait_for(bad)
