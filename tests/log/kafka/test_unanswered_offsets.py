"""A broker that does not answer in time: what it did not say is not known, and never a number.

The brokers are those of librdkafka's mock cluster, whose answers can be delayed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from mock_kafka import MockKafka
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import KafkaSection
from vecferry.errors import Unavailable
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.log import KafkaLog
from vecferry.reads.views import SharedViews
from vecferry.schemas.topics import control_topic

pytestmark = pytest.mark.slow

TOPIC = "shop.products.events"
SILENT_MS = 20_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka(brokers=3) as cluster:
        for topic, partitions in ((TOPIC, 4), (control_topic("shop"), 1)):
            cluster.create_topic(topic, partitions)
            for partition in range(partitions):
                cluster.lead(topic, partition, 1 + partition % 3)
        cluster.lead(control_topic("shop"), 0, 2)
        yield cluster


@pytest.fixture
def kafka(cluster: MockKafka) -> Iterator[MockKafka]:
    yield cluster
    cluster.answer_after(0, broker=2)


def section(kafka: MockKafka) -> KafkaSection:
    return KafkaSection(bootstrap_servers=kafka.bootstrap_servers)


def raised_by(work: Callable[[], object]) -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        work()
    return raised.value


def test_offsets_that_a_leader_did_not_tell_are_no_offsets(kafka: MockKafka) -> None:
    admin = Admin(section(kafka))
    assert admin.end_offsets(TOPIC, 4) == (0, 0, 0, 0)
    kafka.answer_after(SILENT_MS, broker=2)
    for stable in (False, True):
        error = raised_by(lambda stable=stable: admin.end_offsets(TOPIC, 4, stable=stable, timeout_s=0.3))
        assert "does not answer" in str(error)
        assert "partition 1" in str(error)


def test_begin_and_end_are_not_known_either(kafka: MockKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecferry.log.kafka.admin.REQUEST_TIMEOUT_S", 0.3)
    admin = Admin(section(kafka))
    admin.end_offsets(TOPIC, 4)
    kafka.answer_after(SILENT_MS, broker=2)
    assert "does not answer" in str(raised_by(lambda: admin.offsets(TOPIC, 4)))


def test_a_process_that_starts_while_a_broker_hangs_knows_no_route(kafka: MockKafka) -> None:
    """It was handed an empty table, and read by the route of a collection that has no record."""
    kafka.answer_after(SILENT_MS, broker=2)
    with closing(KafkaLog(section(kafka))) as log:
        views = SharedViews(log, "shop", clock=SYSTEM_CLOCK)
        began_s = time.monotonic()
        raised_by(lambda: views.control(1.0))
        assert time.monotonic() - began_s < 5.0
        views.close()


def test_a_table_that_was_not_read_does_not_say_that_a_key_is_absent(kafka: MockKafka) -> None:
    kafka.answer_after(SILENT_MS, broker=2)
    with closing(KafkaLog(section(kafka))) as log:
        table = log.table(control_topic("shop"))
        for ask in (lambda: table.get("route/products"), lambda: table.items(""), lambda: table.headers("a")):
            assert "not read" in str(raised_by(ask))
        kafka.answer_after(0, broker=2)
        table.sync(30.0)
        assert (table.get("route/products"), table.items(""), table.headers("a")) == (None, {}, {})
