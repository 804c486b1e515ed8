"""The journal's writer when Kafka is away in the middle of a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from mock_kafka import MockKafka
from vecferry.config import KafkaSection
from vecferry.errors import Refused, Unavailable
from vecferry.journal.run import PlanPage
from vecferry.log.kafka import control
from vecferry.log.kafka.control import ControlWriter
from vecferry.schemas.topics import control_topic
from waiting import wait_until

pytestmark = pytest.mark.slow

NOTE = PlanPage(chunks=())


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(control_topic("n"), 1)
        yield cluster


class Interrupted:
    """A producer from which Kafka goes away once: before its first record is delivered, or before a commit."""

    def __init__(self, producer: Any, go_away: Callable[[], None], *, delivered: bool) -> None:
        self._producer = producer
        self._go_away = go_away
        self._delivered = delivered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def produce(self, *arguments: Any, **named: Any) -> None:
        if not self._delivered:
            self._leave()
        self._producer.produce(*arguments, **named)

    def commit_transaction(self, timeout_s: float) -> None:
        if self._delivered:
            assert self._producer.flush(20) == 0
            self._leave()
        self._producer.commit_transaction(timeout_s)

    def _leave(self) -> None:
        go_away, self._go_away = self._go_away, lambda: None
        go_away()


@pytest.mark.parametrize("delivered", [True, False])
def test_a_commit_that_was_not_answered_is_brought_to_its_end_by_the_next_write(
    kafka: MockKafka, monkeypatch: pytest.MonkeyPatch, delivered: bool
) -> None:
    section = KafkaSection(bootstrap_servers=kafka.bootstrap_servers)
    writer = ControlWriter(section, "n", "products")
    writer.write({"first": NOTE})
    producer = writer._producer
    writer._producer = Interrupted(producer, kafka.set_down, delivered=delivered)  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(control, "REQUEST_TIMEOUT_S", 0.5)
        with pytest.raises(Unavailable, match="does not answer"):
            writer.write({"second": NOTE})
        writer._producer = producer
        with pytest.raises(Unavailable, match="does not answer"):
            writer.write({"third": NOTE})
    kafka.set_up()

    def written() -> bool:
        try:
            writer.write({"fourth": NOTE})
        except Unavailable:
            return False
        return True

    wait_until(written, 60, "a write after the outage")


class Fails:
    """A producer that fails for good."""

    def __init__(self, code: int) -> None:
        self._error = KafkaError(code, "given up", fatal=True)

    def begin_transaction(self) -> None:
        raise KafkaException(self._error)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (KafkaError._FENCED, "has taken over; .* run this command again"),
        (KafkaError.INVALID_TXN_STATE, "Kafka was away for longer .*; run this command again"),
    ],
)
def test_a_writer_that_kafka_has_given_up_says_so_in_one_line(kafka: MockKafka, code: int, line: str) -> None:
    writer = ControlWriter(KafkaSection(bootstrap_servers=kafka.bootstrap_servers), "n", "products")
    writer._producer = Fails(code)  # type: ignore[assignment]
    with pytest.raises(Refused, match=line) as refused:
        writer.write({"note": NOTE})
    assert "\n" not in str(refused.value)
