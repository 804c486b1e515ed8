"""Following compacted topics of a real Kafka."""

from __future__ import annotations

import threading
import uuid
from contextlib import closing

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from vecferry.config import KafkaSection
from vecferry.log.kafka.clients import producer_config
from vecferry.log.kafka.log import KafkaLog

pytestmark = pytest.mark.server


@pytest.fixture
def kafka(kafka_bootstrap: str) -> KafkaSection:
    # The longer a fetch may wait, the less often one comes back empty, which is how the end of a topic shows.
    return KafkaSection(bootstrap_servers=kafka_bootstrap, client={"fetch.wait.max.ms": "3000"})


def test_a_topic_that_is_never_quiet_can_be_read_to_where_it_ended(kafka: KafkaSection) -> None:
    topic = f"view-{uuid.uuid4().hex}"
    KafkaLog(kafka).admin.create_topic(topic, 1, {"cleanup.policy": "compact"})
    producer = Producer({**producer_config(kafka), "linger.ms": 0})
    stop, begun = threading.Event(), threading.Event()

    def never_quiet() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            producer.produce(topic, key=b"key", value=str(number).encode(), partition=0)
            producer.flush(5)
            begun.set()

    writing = threading.Thread(target=never_quiet)
    writing.start()
    try:
        assert begun.wait(30)
        with closing(KafkaLog(kafka)) as log:
            table = log.table(topic)
            table.sync(10.0)
            before = int(table.get("key") or 0)
            table.sync(10.0)
            assert int(table.get("key") or 0) >= before > 0
    finally:
        stop.set()
        writing.join()


def test_a_topic_whose_beginning_is_gone_is_read_from_what_is_left(kafka_bootstrap: str) -> None:
    kafka = KafkaSection(bootstrap_servers=kafka_bootstrap)
    topic = f"view-{uuid.uuid4().hex}"
    KafkaLog(kafka).admin.create_topic(topic, 1, {"cleanup.policy": "delete"})
    producer = Producer({**producer_config(kafka), "linger.ms": 0})
    for number in range(4):
        producer.produce(topic, key=f"key-{number}".encode(), value=b"there", partition=0)
    producer.flush(10)
    request = [TopicPartition(topic, 0, 2)]
    client = AdminClient({"bootstrap.servers": kafka_bootstrap})
    for future in client.delete_records(request).values():
        future.result(10)
    with closing(KafkaLog(kafka)) as log:
        table = log.table(topic)
        table.sync(10.0)
        assert sorted(table.items("key-")) == ["key-2", "key-3"]


def test_a_transaction_that_a_killed_writer_left_open_is_not_waited_for(kafka_bootstrap: str) -> None:
    kafka = KafkaSection(bootstrap_servers=kafka_bootstrap)
    topic = f"view-{uuid.uuid4().hex}"
    KafkaLog(kafka).admin.create_topic(topic, 1, {"cleanup.policy": "compact"})
    settings = {"transactional.id": topic, "transaction.timeout.ms": 60_000, "delivery.timeout.ms": 30_000}
    writer = Producer({**producer_config(kafka), **settings})
    writer.init_transactions(20)
    for value in (b"committed", b"open"):
        writer.begin_transaction()
        writer.produce(topic, key=b"key", value=value, partition=0)
        writer.flush(10)
        if value == b"committed":
            writer.commit_transaction(20)
    with closing(KafkaLog(kafka)) as log:
        table = log.table(topic)
        table.sync(10.0)
        assert table.get("key") == b"committed"
        writer.commit_transaction(20)
        table.sync(10.0)
        assert table.get("key") == b"open"
