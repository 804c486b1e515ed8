"""Opening a publisher: what is absent, what does not fit, and what cannot be configured."""

from __future__ import annotations

import logging
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]
from mock_kafka import MockKafka
from publishing import COLLECTION, PARTITIONS, TOPIC, VECTOR, open_publisher
from vecferry.errors import ConfigError, NotDelivered, Refused
from vecferry.producers import Publisher
from waiting import wait_until

pytestmark = pytest.mark.slow


def test_no_kafka_is_one_clear_error_in_bounded_time(tmp_path: Path) -> None:
    code = (
        "from vecferry.producers import Publisher\n"
        "from vecferry.schemas.collection import Collection, Space\n"
        "from vecferry.errors import Unavailable\n"
        "space = Space(model='m', version='1', dimension=2, metric='dot')\n"
        "try:\n"
        "    Publisher(Collection(name='c', space=space, partitions=1), topic='t', open_timeout_s=1.0,\n"
        "              producer_config={'bootstrap.servers': '127.0.0.1:1'})\n"
        "except Unavailable as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("Kafka at 127.0.0.1:1 does not answer (")
    assert "start it" in ended.stdout
    assert ended.stderr == ""  # the client's own lines go to logging


def test_a_missing_topic_is_refused_and_not_created(kafka: MockKafka) -> None:
    for _ in range(2):
        with pytest.raises(
            Refused, match=r"topic absent\.events does not exist; create it with `vecferry enrol products`"
        ):
            Publisher(
                COLLECTION,
                topic="absent.events",
                producer_config={"bootstrap.servers": kafka.bootstrap_servers},
                open_timeout_s=0.5,
            )


def test_another_number_of_partitions_is_refused(kafka: MockKafka) -> None:
    kafka.create_topic("other", PARTITIONS * 2)
    with pytest.raises(Refused, match="has 8 partitions and collection products says 4"):
        Publisher(COLLECTION, topic="other", producer_config={"bootstrap.servers": kafka.bootstrap_servers})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("acks", "1"),
        ("enable.idempotence", False),
        ("partitioner", "consistent_random"),
        ("request.required.acks", 1),
        ("transactional.id", "x"),
        ("delivery.report.only.error", True),
        ("default.topic.config", {"acks": 1}),
        ("no.such.property", 1),
        ("max.in.flight", 10),
    ],
)
def test_guarantees_cannot_be_configured_away(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        Publisher(COLLECTION, topic=TOPIC, producer_config={"bootstrap.servers": "127.0.0.1:1", key: value})


def test_repeating_a_guarantee_is_fine(kafka: MockKafka) -> None:
    guarantees = {"acks": "all", "enable.idempotence": "true", "partitioner": "murmur2_random"}
    with open_publisher(kafka, {**guarantees, "logger": logging.getLogger("test")}) as publisher:
        publisher.upsert("a", VECTOR).result(timeout=30)


@pytest.mark.server
def test_partitions_added_under_a_publisher_stop_it(kafka_bootstrap: str) -> None:
    topic = f"grown-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])[topic].result(30)
    config = {"bootstrap.servers": kafka_bootstrap, "topic.metadata.refresh.interval.ms": 100}
    publisher = Publisher(COLLECTION, topic=topic, producer_config=config)
    publisher.upsert("before", VECTOR).result(30)
    admin.create_partitions([NewPartitions(topic, 4 * PARTITIONS)])[topic].result(30)
    undelivered: list[str] = []
    refused: list[str] = []

    def stopped() -> bool:
        try:
            batch = publisher.upsert_many([f"id-{n}" for n in range(64)], np.tile(VECTOR, (64, 1)))
            batch.result(30)
        except NotDelivered as error:
            undelivered.append(str(error))
        except Refused as error:
            refused.append(str(error))
        return bool(refused)

    wait_until(stopped, what="the publisher to notice")
    assert undelivered
    assert "which had 4: partitions were added" in undelivered[0]
    assert "begin a new epoch" in refused[0]
    publisher.close()


@pytest.mark.server
def test_records_that_the_broker_refuses_one_by_one_are_all_told_so(kafka_bootstrap: str) -> None:
    """As with a clock that is wrong: the broker's answer names each record of a batch, and says why."""
    topic = f"old-{uuid.uuid4().hex}"
    settings = {"message.timestamp.before.max.ms": "1"}
    new = NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, config=settings)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([new])[topic].result(30)
    config = {"bootstrap.servers": kafka_bootstrap, "linger.ms": 200}
    with Publisher(COLLECTION, topic=topic, producer_config=config) as publisher:
        batch = publisher.upsert_many([f"id-{n}" for n in range(20)], np.tile(VECTOR, (20, 1)))
        alone = [publisher.upsert("a", VECTOR), publisher.upsert("a", VECTOR), publisher.delete("b")]
        told = r"INVALID_(RECORD|TIMESTAMP) \(Broker"
        with pytest.raises(NotDelivered, match=rf"20 of the batch of 20 .*'id-\d+': {told}"):
            batch.result(30)
        for delivery in alone:
            with pytest.raises(NotDelivered, match=told):
                delivery.result(30)
