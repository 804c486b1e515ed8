"""A publisher on a mock cluster, and what it wrote, read back."""

from __future__ import annotations

from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from mock_kafka import MockKafka
from vecferry.producers import Publisher
from vecferry.schemas.batch import EventBatch
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.decode import EventDecoder
from waiting import wait_until

D = 8
PARTITIONS = 4
TOPIC = "shop.products.events"
COLLECTION = Collection(
    name="products",
    space=Space(model="mini", version="1", dimension=D, metric="cosine"),
    partitions=PARTITIONS,
    epoch=3,
)
VECTOR = np.arange(1, D + 1, dtype=np.float32)


def open_publisher(kafka: MockKafka, client: dict[str, Any] | None = None, **options: Any) -> Publisher:
    config = {"bootstrap.servers": kafka.bootstrap_servers, **(client or {})}
    return Publisher(COLLECTION, topic=TOPIC, producer_config=config, **options)


def warm(publisher: Publisher) -> None:
    """Connect, and wait until the client has cleared the place of what it reported."""
    publisher.upsert("warm", VECTOR).result(timeout=30)
    wait_until(lambda: len(publisher._producer) == 0, what="an empty queue")


def read_all(kafka: MockKafka, count: int) -> EventBatch:
    """The first ``count`` events of the topic, decoded: each partition in its order."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    messages: list[Any] = []

    def enough() -> bool:
        messages.extend(consumer.consume(1000, 0.1))
        return len(messages) >= count

    wait_until(enough, what=f"{count} events in the topic")
    consumer.close()
    assert len(messages) == count
    decoded = EventDecoder(COLLECTION).decode(
        [m.value() for m in messages],
        [m.key() for m in messages],
        [m.partition() for m in messages],
        [m.offset() for m in messages],
    )
    assert decoded.errors == {}
    return decoded.batch
