"""Kafka stops answering for a while, as a process does that is stopped: readers stay where they are.

The broker is one of librdkafka's mock cluster, whose answers can be delayed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from mock_kafka import MockKafka
from reads_fakes import COLLECTION, TOPIC, World, version_of
from vecferry.config import KafkaSection
from vecferry.log.kafka.admin import Admin
from vecferry.reads.session import Session
from vecferry.schemas.tokens import WriteToken
from waiting import wait_until

pytestmark = pytest.mark.slow

SILENT_MS = 30_000


class KafkaWorld(World):
    """A world that asks a broker where the live topic ends."""

    def __init__(self, kafka: MockKafka) -> None:
        section = KafkaSection(bootstrap_servers=kafka.bootstrap_servers)
        self._admin = Admin(section)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        super().__init__()

    def ends(self, timeout_s: float) -> tuple[int, ...]:
        self.end_requests += 1
        return self._admin.end_offsets(TOPIC, COLLECTION.partitions, stable=True, timeout_s=timeout_s)

    def write(self, id_: str, version: int, partition: int = 0) -> WriteToken:
        self._producer.produce(TOPIC, b"event", id_.encode(), partition=partition)
        assert self._producer.flush(10) == 0
        return super().write(id_, version, partition)


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, COLLECTION.partitions)
        yield cluster


def test_an_updated_row_is_never_old_again_while_kafka_hangs(kafka: MockKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecferry.reads.watermarks._ENDS_TIMEOUT_S", 0.2)
    world, session = KafkaWorld(kafka), Session()
    reader = world.reader(barrier_s=0.3)
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    world.write("a", 2)
    world.apply("old")
    world.route(0)
    assert version_of(reader, "a", session=session) == 2
    assert world.ends(5.0) == (2, 0)  # the client knows the leaders from here on
    kafka.answer_after(SILENT_MS)
    world.route(100)

    def shown_while(refused: int) -> bool:
        assert version_of(reader, "a") == version_of(reader, "a", session=session) == 2
        return reader.stats.refused_moves >= refused

    wait_until(lambda: shown_while(2), what="moves put off while Kafka hangs")
    refused = reader.stats.refused_moves
    kafka.answer_after(0)
    wait_until(lambda: shown_while(refused + 2), what="moves put off because the new store is behind")
    assert reader.route is not None
    assert reader.route.percent == 0
    world.apply("new")
    wait_until(lambda: shown_while(0) and reader.route.percent == 100, what="the move once the new store is there")
