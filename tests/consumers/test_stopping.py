"""A worker that is being stopped."""

from __future__ import annotations

import pytest
from log_world import world
from wrapped_log import WrappedConsumer, WrappedLog

pytestmark = pytest.mark.server


class RebalancingAtTheEnd(WrappedConsumer):
    """A consumer whose group rebalances while it is left."""

    def close(self) -> None:
        assert self.listener is not None
        self.listener.assigned([0])
        self.inner.close()


def test_partitions_that_arrive_while_the_group_is_left_are_not_asked_about(kafka_bootstrap: str) -> None:
    asked: list[str] = []
    with world(kafka_bootstrap) as log:
        store = log.store(before=asked.append)
        worker = log.worker(store, log=WrappedLog(log.log, RebalancingAtTheEnd))
        del asked[:]
        worker.stop()
        worker.run()  # asking Kafka about them took a minute
        assert asked == []
        assert worker.owned == {}
        assert worker.expected == frozenset()
