"""A cluster for publishers to write to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mock_kafka import MockKafka
from publishing import PARTITIONS, TOPIC


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    """A mock cluster with the topic of the publishers."""
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        yield cluster
