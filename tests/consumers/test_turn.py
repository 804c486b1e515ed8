"""What a turn takes of the messages of one call, and which of its letters are due."""

from __future__ import annotations

import numpy as np
from confluent_kafka import KafkaError
from messages import Message
from store_data import DIMENSION, collection
from vecferry.consumers.assignment import Stream
from vecferry.consumers.turn import TurnMaker
from vecferry.schemas.codec import EventEncoder

LIVE, BLOCKS = "shop.products.events", "shop.products.snapshot.r1"
VALUE = EventEncoder(collection()).upsert(
    b"a", np.ones(DIMENSION, np.float32), b"{}", event_id=bytes(16), occurred_at_ms=1
)


def maker() -> TurnMaker:
    return TurnMaker(collection(), LIVE, "new")


def test_messages_of_a_partition_that_was_given_up_in_the_same_call_are_left_to_its_next_owner() -> None:
    end = KafkaError(KafkaError._PARTITION_EOF)
    given_up = [Message(LIVE, 1, 5, VALUE), Message(BLOCKS, 1, 5, VALUE), Message(LIVE, 1, 6, None, end)]
    turn = maker().make(given_up, {(LIVE, 0): Stream(next_offset=0, known_below=0)})
    assert turn.empty
    assert (turn.live_events, turn.snapshot_events) == (0, 0)


def test_letters_below_the_mark_of_the_store_were_posted_before() -> None:
    messages = [Message(LIVE, 0, offset, b"junk") for offset in (3, 4, 5)]
    messages += [Message(BLOCKS, 0, offset, b"junk") for offset in (7, 8)]
    streams = {
        (LIVE, 0): Stream(next_offset=3, known_below=5),
        (BLOCKS, 0): Stream(next_offset=7, known_below=8, run="r1"),
    }
    turn = maker().make(messages, streams)
    assert (turn.live_letters, len(turn.letters)) == (3, 5)  # each of them owes an outcome
    assert [letter.origin.offset for letter in turn.unposted(turn.letters)] == [5, 8]
