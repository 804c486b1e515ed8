"""Whoever relies on a live topic learns that it was made anew, or that the log went back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from log_world import NAME, PARTITIONS
from memory_world import MemoryWorld
from stepped_executor import SteppedExecutor
from vecferry.errors import Refused, Unavailable
from vecferry.journal.collection import CollectionRecord, collection_key
from vecferry.journal.topic_watch import TopicWatch, Watched
from vecferry.schemas.topics import control_topic


def enrol(world: MemoryWorld) -> None:
    record = CollectionRecord(
        epoch=1,
        partitions=PARTITIONS,
        dimension=4,
        metric="l2",
        id_type="text",
        stores=("old", "new"),
        topic_id=world.log.admin.topic_id(world.topic),
    )
    world.log.writer(world.namespace, NAME).write({collection_key(NAME): record})


def make_anew(world: MemoryWorld) -> None:
    del world.broker.topics[world.topic]
    world.broker.create_topic(world.topic, PARTITIONS, {})


@pytest.fixture
def world() -> MemoryWorld:
    made = MemoryWorld()
    enrol(made)
    return made


@pytest.fixture
def watch(world: MemoryWorld) -> Iterator[TopicWatch]:
    with closing(TopicWatch(world.log, world.namespace, every_s=None)) as made:
        yield made


class Subject:
    """Something that relies on the topic, and what it was told."""

    def __init__(self, watch: TopicWatch, reached: dict[int, int] | None = None) -> None:
        self.told: list[str] = []
        self.watched = Watched(
            collection=NAME,
            partitions=PARTITIONS,
            who="this publisher has written",
            reached=lambda: reached or {},
            refuse=lambda problem: self.told.append(str(problem)),
        )
        watch.watch(self.watched)


def test_a_topic_that_stays_is_nothing_to_tell(world: MemoryWorld, watch: TopicWatch) -> None:
    offset = world.upsert("a", 1.0)
    partition = next(p for p in range(PARTITIONS) if world.log.admin.end_offsets(world.topic, PARTITIONS)[p])
    subject = Subject(watch, {partition: offset + 1})
    watch.look()
    assert subject.told == []


def test_a_topic_that_was_deleted_and_made_anew_is_told_to_everybody_once(
    world: MemoryWorld, watch: TopicWatch
) -> None:
    subjects = [Subject(watch), Subject(watch)]
    watch.look()
    make_anew(world)
    watch.look()
    watch.look()
    for subject in subjects:
        (told,) = subject.told
        assert "was deleted and made anew since the collection was enrolled" in told
        assert "set epoch = 2" in told


def test_a_log_that_ends_before_what_was_written_is_told(world: MemoryWorld, watch: TopicWatch) -> None:
    for number in range(30):
        world.upsert(f"id-{number}", 1.0)
    ends = world.log.admin.end_offsets(world.topic, PARTITIONS)
    subject = Subject(watch, dict(enumerate(ends)))
    watch.look()
    assert subject.told == []
    del world.broker.partition((world.topic, 1)).records[3:]
    watch.look()
    (told,) = subject.told
    assert f"this publisher has written {world.topic} [1] up to offset {ends[1]}, and the topic ends at 3" in told


def test_who_has_left_is_told_nothing(world: MemoryWorld, watch: TopicWatch) -> None:
    subject = Subject(watch)
    watch.leave(subject.watched)
    watch.leave(subject.watched)
    make_anew(world)
    watch.look()
    assert subject.told == []


def test_what_is_not_known_is_no_reason_to_refuse(
    world: MemoryWorld, watch: TopicWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str) -> str:
        raise Unavailable(f"{name}: Kafka does not answer")

    subject = Subject(watch)
    with monkeypatch.context() as patch:
        patch.setattr(world.log.admin, "topic_id", away)
        watch.look()
    world.broker.append((control_topic(world.namespace), 0), collection_key(NAME).encode(), b'{"version": 9}')
    for table in world.log.tables:
        table.catch_up()
    make_anew(world)
    watch.look()
    assert subject.told == []


def test_a_namespace_without_a_journal_is_left_alone() -> None:
    world = MemoryWorld(enrolled=False)
    with closing(TopicWatch(world.log, world.namespace, every_s=None)) as watch:
        subject = Subject(watch)
        watch.look()
    assert subject.told == []
    assert control_topic(world.namespace) not in world.broker.topics


def test_it_looks_by_itself_and_at_once_when_something_is_suspicious(world: MemoryWorld) -> None:
    told = threading.Event()
    with closing(TopicWatch(world.log, world.namespace, every_s=3_600.0)) as watch:
        watched = Watched(
            collection=NAME, partitions=PARTITIONS, who="", reached=dict, refuse=lambda problem: told.set()
        )
        watch.watch(watched)
        make_anew(world)
        watch.look_soon()
        assert told.wait(30)


def test_a_running_worker_ends_and_applies_nothing_more(world: MemoryWorld, watch: TopicWatch) -> None:
    store, executor = world.store(), SteppedExecutor(world.clock)
    worker = world.worker(store, executor)
    worker.open()
    watch.watch(Watched(collection=NAME, partitions=PARTITIONS, who="", reached=worker.reached, refuse=worker.refuse))
    while not worker.owned:
        worker.step()
        executor.run_one()
    watch.look()
    make_anew(world)
    world.upsert("of the new topic", 1.0)
    watch.look()
    with pytest.raises(Refused, match="was deleted and made anew"):
        worker.step()
    worker.close()
    assert store.rows == {}
