"""A reader compares what it is configured with to what was enrolled, and distrusts a topic that was made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from log_world import NAME, PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld
from vecferry.errors import Refused
from vecferry.journal.collection import CollectionRecord, collection_key
from vecferry.journal.topic_watch import TopicWatch
from vecferry.reads import backend as backend_module
from vecferry.reads.backend import Backend
from vecferry.reads.reader import Reader
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken


def record(world: MemoryWorld, **changes: object) -> CollectionRecord:
    enrolled = CollectionRecord(
        epoch=1,
        partitions=PARTITIONS,
        dimension=4,
        metric="l2",
        id_type="text",
        space_model="m",
        space_version="1",
        stores=("old", "new"),
        topic_id=world.log.admin.topic_id(world.topic),
    )
    return enrolled.model_copy(update=changes)


class World(MemoryWorld):
    """With a reader of the one store that there is to read, and a watch that looks when it is told to."""

    def __init__(self) -> None:
        super().__init__(sections={"migrations": {NAME: {"from": "old", "to": "new"}}})
        self.watch = TopicWatch(self.log, self.namespace, every_s=None)
        self.backend = Backend(self.config, self.log, self.watch, clock=self.clock)
        self.held = self.store()

    def write(self, enrolled: CollectionRecord) -> None:
        self.log.writer(self.namespace, NAME).write({collection_key(NAME): enrolled})
        self.sync_tables()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()

    def open_held(*_: object) -> MemoryStore:
        return made.held

    monkeypatch.setattr(backend_module, "open_replica", open_held)
    with closing(made.backend):
        yield made


CHANGES: list[tuple[Mapping[str, object], str]] = [
    ({"space_version": "2"}, f'set collections.{NAME}.space.version = "2"'),
    ({"space_model": "n"}, f'set collections.{NAME}.space.model = "n"'),
    ({"dimension": 8}, f"set collections.{NAME}.dimension = 8"),
    ({"metric": "dot"}, f'set collections.{NAME}.metric = "dot"'),
    ({"epoch": 2}, f"set collections.{NAME}.epoch = 2"),
]


@pytest.mark.parametrize(("changes", "remedy"), CHANGES)
def test_a_reader_of_another_space_than_was_enrolled_does_not_open_and_gives_no_answer(
    world: World, changes: Mapping[str, object], remedy: str
) -> None:
    world.write(record(world, **changes))
    reader = world.backend.reader(NAME)
    with pytest.raises(Refused, match=remedy):
        reader.open(1.0)
    with pytest.raises(Refused, match=remedy):
        reader.search([1.0, 0.0, 0.0, 0.0])


def test_a_reader_that_serves_is_not_stopped_by_a_later_record(world: World) -> None:
    world.write(record(world))
    reader = world.backend.reader(NAME)
    assert reader.get(["a"]) == []
    world.write(record(world, space_version="2"))
    assert reader.get(["a"]) == []


def test_a_reader_is_compared_as_soon_as_the_collection_is_enrolled(world: World) -> None:
    reader = world.backend.reader(NAME)
    assert reader.get(["a"]) == []
    world.write(record(world, epoch=3))
    with pytest.raises(Refused, match="epoch = 3"):
        reader.get(["a"])


def token_at(world: World, offset: int) -> WriteToken:
    return WriteToken(world.topic, {0: encode_position(1, offset)})


def test_after_a_write_to_a_topic_that_was_made_anew_no_old_row_is_returned(world: World) -> None:
    world.write(record(world))
    world.held.live = dict.fromkeys(range(PARTITIONS), 100)
    reader: Reader = world.backend.reader(NAME)
    assert reader.get(["a"], after=token_at(world, 7)) == []
    del world.broker.topics[world.topic]
    world.broker.create_topic(world.topic, PARTITIONS, {})
    world.watch.look()
    with pytest.raises(Refused, match="was deleted and made anew"):
        reader.get(["a"], after=token_at(world, 7))
    assert reader.get(["a"]) == []  # nobody else's reads stop because of it
