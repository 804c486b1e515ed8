"""Kafka comes back with an older copy of its data: what a store has applied lies beyond the end of the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from log_world import NAME, PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld
from stepped_executor import SteppedExecutor
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import Refused, Unavailable
from vecferry.journal.log_end import LogWentBack
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.schemas.topics import progress_topic

IDS = [f"id-{number}" for number in range(30)]
OLDER = 3  # the copy holds this many events of each partition


class World(MemoryWorld):
    """With a worker that is stepped, and a Kafka that may be set back."""

    def begin(self, store: MemoryStore) -> CollectionWorker:
        self.executor = SteppedExecutor(self.clock)
        worker = self.worker(store, self.executor)
        worker.open()
        return worker

    def step(self, worker: CollectionWorker) -> None:
        worker.step()
        self.executor.run_one()

    def step_until(self, worker: CollectionWorker, condition: Callable[[], bool] = lambda: False) -> None:
        for _ in range(100):
            self.step(worker)
            if condition():
                return
        raise AssertionError("it did not come to it")

    def set_back(self) -> None:
        """As if the disks of the brokers were those of an earlier day."""
        for partition in range(PARTITIONS):
            del self.broker.partition((self.topic, partition)).records[OLDER:]
            self.broker.group(self.group).committed[self.topic, partition] = OLDER
        self.broker.partition((progress_topic(self.namespace), 0)).records.clear()

    def ends(self) -> tuple[int, ...]:
        return self.log.admin.end_offsets(self.topic, PARTITIONS)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(world: World) -> MemoryStore:
    """It has applied more than the log holds after ``set_back``."""
    store = world.store()
    for id_ in IDS:
        world.upsert(id_, 1.0)
    worker = world.begin(store)
    world.step_until(worker, lambda: len(store.rows) == len(IDS))
    worker.drain()
    worker.close()
    assert min(world.ends()) > OLDER
    return store


def test_new_writes_are_not_dropped_as_duplicates_by_a_worker_that_starts_after_kafka_was_restored(
    world: World, store: MemoryStore
) -> None:
    applied = dict(store.live)
    world.set_back()
    for number in range(4):
        world.upsert(f"new-{number}", 2.0)
    worker = world.begin(store)
    with pytest.raises(LogWentBack, match=r"Kafka came back with an older copy of its data.*epoch by one") as refused:
        world.step_until(worker)
    worker.close()
    assert store.live == applied
    assert dict(refused.value.applied) == applied
    assert world.committed() == dict.fromkeys(range(PARTITIONS), OLDER)


def test_a_worker_that_noticed_it_reports_it_where_publishers_look(world: World, store: MemoryStore) -> None:
    applied = dict(store.live)
    world.set_back()
    worker = world.begin(store)
    with pytest.raises(LogWentBack):
        world.step_until(worker)
    worker.close()
    progress = world.log.table(progress_topic(world.namespace))
    progress.sync()
    for partition in range(PARTITIONS):
        raw = progress.get(live_progress_key(NAME, "new", partition))
        assert raw is not None
        assert LiveProgress.model_validate_json(raw).next_offset == applied[partition]


def test_a_worker_under_which_kafka_is_restored_does_not_blame_retention(world: World, store: MemoryStore) -> None:
    worker = world.begin(store)
    world.step_until(worker, lambda: bool(worker.owned))
    world.set_back()
    with pytest.raises(LogWentBack, match="Kafka came back with an older copy"):
        world.step_until(worker)
    worker.close()


def test_a_group_that_has_committed_beyond_the_end_is_noticed_too(world: World) -> None:
    store = world.store()
    world.log.admin.commit(world.group, world.topic, {0: 5})
    worker = world.begin(store)
    with pytest.raises(LogWentBack, match=r"\[0\] up to offset 5, and the topic ends at 0"):
        world.step_until(worker)
    worker.close()


def test_nothing_is_read_before_kafka_says_where_the_log_ends(
    world: World, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> tuple[int, ...]:
        raise Unavailable("Kafka does not answer")

    world.upsert("late", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(world.log.admin, "end_offsets", away)
        worker = world.begin(store)
        for _ in range(20):
            world.step(worker)
        assert "late" not in store.rows
    assert sum("before Kafka says where its topic ends" in line for line in caplog.messages) == 1
    world.step_until(worker, lambda: "late" in store.rows)
    worker.drain()
    worker.close()


def test_a_topic_that_was_deleted_is_refused_when_it_is_assigned(world: World, store: MemoryStore) -> None:
    worker = world.begin(store)
    worker.assigned([0])
    del world.broker.topics[world.topic]
    with pytest.raises(Refused, match="vecferry doctor things"):
        world.step_until(worker)
