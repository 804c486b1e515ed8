"""What a turn takes of the messages of one call, and which of its letters are due."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from confluent_kafka import KafkaError
from messages import Message
from store_data import DIMENSION, collection
from vecferry.consumers.partition import Owned, Partition
from vecferry.consumers.turn import TurnMaker
from vecferry.schemas.batch import Op, Rows
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.snapshot import SnapshotDecoder, encode_snapshot_blocks

LIVE, BLOCKS = "shop.products.events", "shop.products.snapshot.r1"
VALUE = EventEncoder(collection()).upsert(
    b"a", np.ones(DIMENSION, np.float32), b"{}", event_id=bytes(16), occurred_at_ms=1
)


def owned(*partitions: Partition) -> Owned:
    return {partition.place: partition for partition in partitions}


def maker() -> TurnMaker:
    return TurnMaker(collection(), LIVE, "new")


def test_messages_of_a_partition_that_was_given_up_in_the_same_call_are_left_to_its_next_owner() -> None:
    end = KafkaError(KafkaError._PARTITION_EOF)
    given_up = [Message(LIVE, 1, 5, VALUE), Message(BLOCKS, 1, 5, VALUE), Message(LIVE, 1, 6, None, end)]
    turn = maker().make(given_up, owned(Partition(place=(LIVE, 0), next_offset=0, handled_below=0)))
    assert turn.empty
    assert (turn.live_events, turn.snapshot_events) == (0, 0)


def test_letters_below_the_mark_of_the_store_were_posted_before() -> None:
    messages = [Message(LIVE, 0, offset, b"junk") for offset in (3, 4, 5)]
    messages += [Message(BLOCKS, 0, offset, b"junk") for offset in (7, 8)]
    live = Partition(place=(LIVE, 0), next_offset=3, handled_below=5)
    blocks = Partition(place=(BLOCKS, 0), next_offset=7, handled_below=8, run="r1")
    turn = maker().make(messages, owned(live, blocks))
    assert (turn.live_letters, len(turn.letters)) == (3, 5)  # each of them owes an outcome
    assert [letter.origin.offset for letter in turn.unposted(turn.letters)] == [5, 8]


def block(offset: int, ids: list[str], partition: int = 0) -> Message:
    n = len(ids)
    rows = Rows(
        ids=ids,
        positions=np.arange(n) + 10 * offset + 1,
        deleted=np.zeros(n, np.bool_),
        vectors=np.arange(n * DIMENSION, dtype=np.float32).reshape(n, DIMENSION) + offset,
        metadata=[f'{{"of":"{id_}"}}'.encode() for id_ in ids],
    )
    (encoded,) = encode_snapshot_blocks(collection(), run="r1", chunk=0, generation=1, rows=rows)
    return Message(BLOCKS, partition, offset, encoded.value)


def both_kinds() -> Owned:
    return owned(
        Partition(place=(LIVE, 0), next_offset=3, handled_below=3),
        Partition(place=(BLOCKS, 0), next_offset=0, handled_below=0, run="r1"),
    )


def test_what_was_read_ahead_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = SnapshotDecoder.decode

    def counting(self: SnapshotDecoder, value: bytes | None, partition: int) -> object:
        decoded.append(value)
        return decode(self, value, partition)

    monkeypatch.setattr(SnapshotDecoder, "decode", counting)
    making, messages = maker(), [block(0, ["a", "b"]), Message(BLOCKS, 0, 1, b"junk"), block(2, ["c"])]
    partitions = both_kinds()
    for message in [*messages[:2], *messages[:2]]:  # a client that goes back hands them over twice
        making.read_ahead(message, partitions[BLOCKS, 0])
    turn = making.make(messages, partitions)
    assert decoded == [message.value() for message in messages]
    assert (turn.batch.ids, [letter.origin.offset for letter in turn.letters]) == (["a", "b", "c"], [1])


def test_the_rows_of_blocks_follow_the_live_events_in_memory_that_stores_take() -> None:
    messages = [block(0, ["a", "b"]), Message(LIVE, 0, 3, VALUE), block(1, ["c"])]
    batch = maker().make(messages, both_kinds()).batch
    assert batch.ops.tolist() == [Op.UPSERT, *[Op.SNAPSHOT] * 3]
    assert batch.ids[1:] == ["a", "b", "c"]
    assert batch.vectors[:, 0].tolist() == [1.0, 0.0, float(DIMENSION), 1.0]
    for alone in (maker().make(messages[:1], both_kinds()).batch, batch):  # one block alone lies as its message has it
        assert alone.vectors.flags.aligned


def test_a_row_that_the_store_rejects_is_found_again_when_its_message_is_gone() -> None:
    making, messages = maker(), [block(0, ["a", "b"]), Message(LIVE, 0, 3, VALUE), block(1, ["c", "d"])]
    gone = weakref.ref(messages[2])
    turn = making.make(messages, both_kinds())
    messages.clear()
    assert gone() is None  # a turn holds its rows once: with the messages it would need twice the memory
    letter = making.letter(turn, 4, "too long")
    assert (letter.key, letter.position, letter.origin.offset, letter.origin.row) == (b"d", 12, 1, 1)
    again = SnapshotDecoder(collection()).decode(letter.value, 0)
    assert again.events.ids == ["d"]  # type: ignore[union-attr]
    assert again.events.vectors.tobytes() == turn.batch.vectors[4].tobytes()  # type: ignore[union-attr]
    with pytest.raises(IndexError):
        making.letter(turn, 5, "there is no such row")
