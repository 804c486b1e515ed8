"""What a sender says when its client stops, and when the broker refuses what it sends."""

from __future__ import annotations

from collections.abc import Iterator

import mock_kafka
import pytest
from confluent_kafka import Producer
from mock_kafka import MockKafka
from vecferry.config import KafkaSection
from vecferry.errors import Unavailable, VecferryError
from vecferry.log.kafka.clients import own_producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.port import TooLarge
from waiting import wait_until

pytestmark = pytest.mark.slow

TOPIC = "shop.progress"


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, 1)
        yield cluster


def log_of(kafka: MockKafka) -> KafkaLog:
    return KafkaLog(KafkaSection(bootstrap_servers=kafka.bootstrap_servers))


@pytest.mark.parametrize("bulk", [False, True])
def test_a_client_that_stopped_for_good_is_said_in_our_words(kafka: MockKafka, bulk: bool) -> None:
    sender = log_of(kafka).sender(bulk=bulk)
    sender.send(TOPIC, 0, b"1")
    assert sender.flush(30) == 0
    kafka.fail_next(mock_kafka.OUT_OF_ORDER_SEQUENCE_NUMBER)
    failures: list[VecferryError] = []

    def stopped() -> bool:
        try:
            sender.send(TOPIC, 0, b"2", on_failure=failures.append)
            sender.flush(1)
        except Unavailable as error:
            failures.append(error)
            return True
        return False

    wait_until(stopped, what="the client to stop")
    assert all(str(error).startswith("Kafka at ") and "; " in str(error) for error in failures)
    sender.send(TOPIC, 0, b"3", on_failure=failures.append)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (mock_kafka.MESSAGE_TOO_LARGE, TooLarge, "raise its max.message.bytes"),
        (mock_kafka.TOPIC_AUTHORIZATION_FAILED, Unavailable, "allow it READ, WRITE, DESCRIBE"),
    ],
)
def test_a_refused_record_is_said_with_its_remedy(
    kafka: MockKafka, code: int, kind: type[VecferryError], said: str
) -> None:
    sender = log_of(kafka).sender()
    failures: list[VecferryError] = []
    kafka.fail_next(code)
    sender.send(TOPIC, 0, b"1", on_failure=failures.append)
    assert sender.flush(30) == 0
    (failure,) = failures
    assert type(failure) is kind
    assert said in str(failure)


def test_the_client_still_hides_a_fatal_error_when_it_flushes(kafka: MockKafka) -> None:
    """When this fails the client is mended, and ``log/kafka/quirks.py`` can go."""
    config = own_producer_config(KafkaSection(bootstrap_servers=kafka.bootstrap_servers))
    producer = Producer({**config, "linger.ms": 0, "delivery.report.only.error": True})
    producer.produce(TOPIC, b"1", partition=0)
    assert producer.flush(30) == 0
    kafka.fail_next(mock_kafka.OUT_OF_ORDER_SEQUENCE_NUMBER)
    told: list[object] = []
    producer.produce(TOPIC, b"2", partition=0, on_delivery=lambda error, _: told.append(error))
    with pytest.raises(SystemError):
        producer.flush(30)
