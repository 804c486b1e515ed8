"""A record that a broker refuses while a later one is under way, as a topic that was only just made can do.

librdkafka reports the refused one as delivered once the later one is, and never sends it again: the broker, which has
no record of this producer yet, does not notice what is missing. See docs/decisions/0020.
"""

from __future__ import annotations

from collections.abc import Iterator

import mock_kafka
import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from mock_kafka import MockKafka
from vecferry.backfill.sending import SnapshotSender
from vecferry.config import KafkaSection
from vecferry.journal.run import RunRecord
from vecferry.log.kafka.clients import own_producer_config, producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.schemas.batch import Rows
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.snapshot import SnapshotDecoder, SnapshotMarker
from waiting import wait_until

pytestmark = pytest.mark.slow

TOPIC = "shop.products.snapshot.r-0001"
QUICK = {"retry.backoff.ms": "10", "retry.backoff.max.ms": "50"}
D = 1024
COLLECTION = Collection(
    name="products",
    space=Space(model="mini", version="1", dimension=D, metric="cosine"),
    partitions=1,
    epoch=1,
)


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, 1)
        cluster.answer_after(20)  # so that whoever may have several requests under way has
        yield cluster


def values(kafka: MockKafka) -> list[bytes | None]:
    """What the topic holds, in its order."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g"})
    _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10)
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    found: list[bytes | None] = []

    def enough() -> bool:
        found.extend(message.value() for message in consumer.consume(end - len(found), 0.1))
        return len(found) == end

    wait_until(enough, what=f"{end} records")
    consumer.close()
    return found


def send(config: dict[str, object], count: int) -> list[int | None]:
    """The offsets that ``count`` records, each a request of its own, are reported to have."""
    producer = Producer({**config, "linger.ms": 0, "batch.num.messages": 1})
    offsets: list[int | None] = []
    for number in range(count):
        producer.produce(
            TOPIC, b"%d" % number, partition=0, on_delivery=lambda error, message: offsets.append(message.offset())
        )
    assert producer.flush(30) == 0
    return offsets


@pytest.mark.parametrize("set_by_user", [{}, {"max.in.flight": "5"}, {"max.in.flight.requests.per.connection": "5"}])
def test_our_producers_send_it_again(kafka: MockKafka, set_by_user: dict[str, str]) -> None:
    kafka.fail_next(mock_kafka.NOT_LEADER)
    section = KafkaSection(bootstrap_servers=kafka.bootstrap_servers, client={**QUICK, **set_by_user})
    assert send(own_producer_config(section), 4) == [0, 1, 2, 3]
    assert values(kafka) == [b"0", b"1", b"2", b"3"]


def test_the_client_still_has_this_fault(kafka: MockKafka) -> None:
    """When this fails the fault is mended, and decision 20 can be looked at anew."""
    kafka.fail_next(mock_kafka.NOT_LEADER)
    several = {**QUICK, "max.in.flight": "5"}
    section = KafkaSection(bootstrap_servers=kafka.bootstrap_servers, client=several)
    assert send(producer_config(section), 4) == [None, 0, 1, 2]
    assert values(kafka) == [b"1", b"2", b"3"]


def test_a_mover_loses_no_block(kafka: MockKafka) -> None:
    count = 1000
    rows = Rows(
        ids=[f"id-{number}" for number in range(count)],
        positions=np.ones(count, np.int64),
        deleted=np.zeros(count, np.bool_),
        vectors=np.ones((count, D), np.float32),
        metadata=[b"{}"] * count,
    )
    run = RunRecord(
        run="r-0001",
        source="old",
        targets=("new",),
        state="copying",
        epoch=1,
        partitions=1,
        chunks=1,
        chunk_rows=count,
        estimated_rows=count,
        generation=1,
        created_unix_s=0.0,
        fences=(0,),
    )
    kafka.fail_next(mock_kafka.NOT_LEADER)
    section = KafkaSection(bootstrap_servers=kafka.bootstrap_servers, client=QUICK)
    sender = SnapshotSender(KafkaLog(section).sender(bulk=True), TOPIC, COLLECTION, run)
    sender.send(0, rows)
    sender.finish(0)
    assert sender.mark(0) == count

    decoder = SnapshotDecoder(COLLECTION)
    *blocks, marker = [decoder.decode(value, 0) for value in values(kafka)]
    assert len(blocks) > 1
    assert isinstance(marker, SnapshotMarker)
    assert sum(len(block.events) for block in blocks if not isinstance(block, SnapshotMarker)) == marker.rows == count
