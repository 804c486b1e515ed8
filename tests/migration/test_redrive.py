"""Dead letters go through the same guard as any event; what is stored, or superseded, is resolved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from memory_store import MemoryStore
from migration_rig import DIMENSION, NAME, Rig
from numpy.typing import NDArray
from vecferry.errors import DecodeError, Refused, Rejected
from vecferry.migration.gates import Verdict, dead_letter_gate
from vecferry.migration.gather import gather
from vecferry.migration.redrive import StoredLetter, decode_letter, discard, letters, redrive
from vecferry.schemas.batch import EventBatch, Mark, Op, Rows
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.dead_letters import Origin
from vecferry.schemas.position import encode_position
from vecferry.schemas.snapshot import encode_snapshot_blocks
from waiting import wait_until

COLLECTION = Collection(
    name=NAME, space=Space(model="m", version="1", dimension=DIMENSION, metric="cosine"), partitions=1
)
VECTOR = np.ones(DIMENSION, np.float32)


def letter(topic: str, value: bytes | None, key: bytes = b"a") -> StoredLetter:
    origin = Origin(store="new", topic=topic, partition=0, offset=7)
    return StoredLetter(key=origin.key(), origin=origin, reason="refused", record_key=key, value=value)


def snapshot_value(ids: list[str]) -> bytes:
    rows = Rows(
        ids=ids,
        positions=np.full(len(ids), 5 + 2**41, np.int64),
        deleted=np.zeros(len(ids), np.bool_),
        vectors=np.tile(VECTOR, (len(ids), 1)),
        metadata=[b"{}"] * len(ids),
    )
    (block,) = encode_snapshot_blocks(COLLECTION, run="r1", chunk=0, generation=1, rows=rows)
    return block.value


def test_a_live_letter_keeps_its_original_position() -> None:
    value = EventEncoder(COLLECTION).upsert(b"a", VECTOR, b"{}", event_id=bytes(16), occurred_at_ms=0)
    batch = decode_letter(letter("events", value), COLLECTION, live_topic="events")
    assert (batch.ids, batch.positions.tolist()) == (["a"], [encode_position(1, 7)])


def test_a_row_of_a_snapshot_keeps_the_position_it_was_copied_with() -> None:
    batch = decode_letter(letter("snapshot", snapshot_value(["a"])), COLLECTION, live_topic="events")
    assert (batch.ids, batch.ops.tolist()) == (["a"], [Op.SNAPSHOT])
    assert batch.positions.tolist() == [5 + 2**41]


@pytest.mark.parametrize(
    ("topic", "value"),
    [("events", b"junk"), ("events", None), ("snapshot", b"junk"), ("snapshot", snapshot_value(["a", "b"]))],
)
def test_what_is_not_one_event_cannot_be_redriven(topic: str, value: bytes | None) -> None:
    with pytest.raises(DecodeError):
        decode_letter(letter(topic, value), COLLECTION, live_topic="events")


class PickyStore(MemoryStore):
    """Takes no event while ``full``."""

    full = True

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if self.full and len(batch):
            raise Rejected("the store has no room")
        return super().apply(batch, marks)


@pytest.mark.server
def test_letters_are_redriven_listed_and_discarded(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    store = PickyStore(rig.config.collection(NAME))
    rig.stores["new"] = store
    rig.enrol()
    with rig.context() as context, rig.worker("new"):
        rig.upsert("a", 1.0)
        rig.upsert("a", 2.0)
        rig.produce(rig.events, b"junk", b"no event")
        wait_until(lambda: len(letters(context)) == 3)
        found = letters(context)
        assert {one.record_key for one in found} == {b"a", b"junk"}
        assert all(one.reason for one in found)
        assert dead_letter_gate(gather(context)).measured == "3 unresolved"
        with pytest.raises(Refused, match="there is no unresolved dead letter 'nope'"):
            letters(context, ["nope"])
        assert {one.resolved for one in redrive(context, found)} == {False}
        assert len(letters(context)) == 3
        store.full = False
        newest_first = sorted(found, key=lambda one: -one.origin.offset)
        results = [(one.result, one.resolved) for one in redrive(context, newest_first)]
        # An older event that is redriven behind a newer one of its id is stale, and resolved all the same.
        assert {("applied", True), ("stale", True)} <= set(results)
        assert store.rows["a"].vector[0] == 2.0
        (junk,) = letters(context)
        assert (junk.record_key, junk.value) == (b"junk", b"no event")
        discard(context, [junk])
        assert letters(context) == ()
        assert dead_letter_gate(gather(context)).verdict is Verdict.PASS
