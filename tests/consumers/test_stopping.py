"""A worker that is being stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition
from log_world import NAME, world
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.worker import CollectionWorker

pytestmark = pytest.mark.server


class Closing:
    """A consumer with another way to close."""

    def __init__(self, consumer: Consumer, close: Callable[[], None]) -> None:
        self._consumer = consumer
        self.close = close

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)


def test_partitions_that_arrive_while_the_group_is_left_are_not_asked_about(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with world(kafka_bootstrap) as log:
        store = log.store(before=asked.append)
        worker = CollectionWorker(log.config, NAME, "new", store, log.control, SYSTEM_CLOCK, "one")
        del asked[:]
        worker.stop()
        close = worker._consumer.close

        def close_in_a_rebalance() -> None:
            # What the client does when the group rebalances meanwhile; asking Kafka then took a minute.
            worker._on_assign(worker._consumer, [TopicPartition(log.topic, 0)])
            close()

        monkeypatch.setattr(worker, "_consumer", Closing(worker._consumer, close_in_a_rebalance))
        worker.run()
        assert asked == []
        assert worker._assignment.streams == {}
