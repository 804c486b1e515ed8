"""A letter whose value only had to be spelled otherwise is stored; one that its id has outgrown is history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from memory_store import MemoryStore
from migration_rig import DIMENSION, NAME, PARTITIONS, settings
from numpy.typing import NDArray
from vecferry.backfill.context import Context, make_context
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import load_config
from vecferry.errors import Rejected
from vecferry.log.memory import Broker, MemoryLog
from vecferry.migration.redrive import Redriven, letters, redrive
from vecferry.schemas.batch import EventBatch, Mark, Op
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.dead_letters import Origin
from vecferry.schemas.fields import Field, RowFields
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import encode_position
from vecferry.schemas.topics import control_topic, dlq_topic, progress_topic

VECTOR = np.ones(DIMENSION, np.float32)
(HOME,) = partitions_of(["a"], PARTITIONS).tolist()


class Strict(MemoryStore):
    """Takes a moment in the spelling of timestamptz alone, and refuses it before it looks at positions."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if any(text and b"+00:00" not in text for text in batch.metadata):
            raise Rejected("moment would not come back from timestamptz as it is")
        return super().apply(batch, marks)


class World:
    """One collection on a log in memory; the store "old" has one typed column."""

    def __init__(self) -> None:
        self.config = load_config(settings("memory", "shop"))
        self.collection = self.config.collection(NAME)
        self.log = MemoryLog(Broker(), SYSTEM_CLOCK)
        for topic in (control_topic("shop"), progress_topic("shop"), dlq_topic("shop", NAME)):
            self.log.admin.create_topic(topic, 1, {})
        self.store = Strict(self.collection)
        self.store.create(complete=True)
        self.store.columns = RowFields(
            metadata={"moment": Field(kind="timestamptz", declared="timestamp with time zone")}
        )

    def letter(self, offset: int, value: bytes, *, partition: int = HOME, epoch: int = 1) -> None:
        origin = Origin(store="old", topic=f"shop.{NAME}.events", partition=partition, offset=offset)
        headers = [("vecferry.key", b"a"), ("vecferry.position", str(encode_position(epoch, offset)).encode())]
        self.log.sender().send(dlq_topic("shop", NAME), 0, value, key=origin.key().encode(), headers=headers)

    def event(self, moment: str) -> bytes:
        text = f'{{"moment":"{moment}"}}'.encode()
        return EventEncoder(self.collection).upsert(b"a", VECTOR, text, event_id=bytes(16), occurred_at_ms=0)

    def apply(self, offset: int, moment: str = "2027-01-01T00:00:00+00:00", *, delete: bool = False) -> None:
        batch = EventBatch(
            ids=["a"],
            ops=np.array([Op.DELETE if delete else Op.UPSERT], np.int8),
            partitions=np.array([HOME], np.int32),
            positions=np.array([encode_position(1, offset)], np.int64),
            vectors=VECTOR[None] * (not delete),
            metadata=[b"" if delete else f'{{"moment":"{moment}"}}'.encode()],
        )
        self.store.apply(batch, ())

    def redriven(self, context: Context) -> Redriven:
        (done,) = redrive(context, letters(context))
        return done


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def context(world: World) -> Iterator[Context]:
    with make_context(world.config, NAME, world.log, open_store=lambda name: world.store) as context:
        yield context


def test_a_letter_whose_value_only_needs_another_spelling_is_stored(world: World, context: Context) -> None:
    world.letter(7, world.event("2026-01-01T10:00:00Z"))
    done = world.redriven(context)
    assert (done.result, done.resolved) == ("applied", True)
    assert world.store.rows["a"].metadata == b'{"moment":"2026-01-01T10:00:00+00:00"}'
    assert world.store.rows["a"].position == encode_position(1, 7)
    assert letters(context) == ()


def test_a_letter_that_no_spelling_helps_stays_and_says_why(world: World, context: Context) -> None:
    world.letter(7, world.event("2026-02-30T10:00:00Z"))
    done = world.redriven(context)
    assert not done.resolved
    assert "metadata.moment" in done.result
    assert len(letters(context)) == 1


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("broken", [False, True])
def test_publishing_the_right_state_of_its_id_resolves_any_letter(
    world: World, context: Context, delete: bool, broken: bool
) -> None:
    world.letter(7, b"junk" if broken else world.event("2026-02-30T10:00:00Z"))
    assert not world.redriven(context).resolved
    world.apply(8, delete=delete)
    done = world.redriven(context)
    assert (done.result, done.resolved) == ("stale", True)
    assert world.store.rows["a"].position == encode_position(1, 8)
    assert letters(context) == ()


def test_a_letter_in_a_foreign_partition_is_not_compared_with_its_id(world: World, context: Context) -> None:
    world.apply(8)
    world.letter(7, b"junk", partition=(HOME + 1) % PARTITIONS)
    assert not world.redriven(context).resolved


def test_a_letter_of_an_earlier_epoch_never_beats_a_row_of_this_one(world: World, context: Context) -> None:
    world.apply(8)  # epoch 1
    sections = settings("memory", "shop")
    sections["collections"][NAME]["epoch"] = 2  # type: ignore[index]
    later = load_config(sections)
    world.letter(500, world.event("2026-01-01T10:00:00Z"), epoch=1)
    world.store.rows["a"] = world.store.rows["a"].__class__(
        position=encode_position(2, 3), deleted=False, vector=VECTOR, metadata=b"{}"
    )
    with make_context(later, NAME, world.log, open_store=lambda name: world.store) as context2:
        (done,) = redrive(context2, letters(context2))
    assert (done.result, done.resolved) == ("stale", True)
    assert world.store.rows["a"].position == encode_position(2, 3)
