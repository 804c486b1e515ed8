"""Records that are larger than a client sends by default become dead letters too, whole where the topic allows it."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Producer
from log_world import NAME, World, world
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.letters import KEPT_BYTES, Letter, LetterBox
from vecferry.errors import DecodeError
from vecferry.log.kafka.clients import producer_config
from vecferry.log.topics import DEAD_LETTER_TOPIC
from vecferry.migration import redrive
from vecferry.schemas.dead_letters import CUT, Origin, parse_origin

pytestmark = pytest.mark.server

TAKEN_BYTES = 1_048_400  # with its key and framing what a broker takes by default, and 48,400 more than a client sends


def publish(log: World, value: bytes, topic: str, headers: list[tuple[str, bytes]] | None = None) -> None:
    producer = Producer({**producer_config(log.config.kafka), "message.max.bytes": 2 * TAKEN_BYTES})
    failures: list[object] = []
    producer.produce(
        topic,
        key=b"k",
        value=value,
        headers=headers or [],
        partition=0,
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    assert producer.flush(30) == 0
    assert not failures


def letter_of(log: World) -> tuple[str, bytes, dict[str, bytes]]:
    log.dead_letters.sync()
    ((key, value),) = log.dead_letters.items("").items()
    return key, value, log.dead_letters.headers(key)


def test_the_worker_goes_on_after_a_record_of_the_largest_size(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        publish(log, b"x" * TAKEN_BYTES, log.topic)
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: sum(store.live.values()) == 31)
        running.stop()
        key, value, headers = letter_of(log)  # its topic is one that was made without room
        assert value == b"x" * (KEPT_BYTES // 2)
        assert headers[CUT] == str(TAKEN_BYTES).encode()
        assert headers["vecferry.reason"].endswith(f"the first {len(value)} of {TAKEN_BYTES} bytes are kept)".encode())
        letter = redrive.StoredLetter(
            key=key,
            origin=parse_origin(key),
            reason="",
            record_key=headers["vecferry.key"],
            value=value,
            whole_bytes=int(headers[CUT]),
        )
        with pytest.raises(DecodeError, match=f"only the beginning of its {TAKEN_BYTES} bytes was kept"):
            redrive.decode_letter(letter, log.collection, live_topic=log.topic)


def test_a_topic_as_enrol_makes_it_keeps_such_a_record_whole(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        roomy = f"{log.namespace}.{uuid.uuid4().hex[:8]}"
        log.admin.create_topic(roomy, 1, DEAD_LETTER_TOPIC)
        view = log.log.table(roomy)
        origin = Origin(store="new", topic=log.topic, partition=0, offset=7)
        letter = Letter(origin=origin, reason="r", key=b"k", value=b"x" * TAKEN_BYTES, headers=(), position=7)
        LetterBox(log.log.sender(), roomy, NAME, SYSTEM_CLOCK).post([letter])
        view.sync()
        assert view.items("") == {origin.key(): letter.value}
        assert view.headers(origin.key())[CUT] == b""
        view.close()
