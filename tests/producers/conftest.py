"""Both ways of handing records to the client, and a cluster to hand them to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mock_kafka import MockKafka
from publishing import PARTITIONS, TOPIC
from vecferry.producers import sending


@pytest.fixture(params=["DirectSender", pytest.param("CallbackSender", marks=pytest.mark.slow)])
def sender(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the sender that publishers use in this test."""
    if request.param == "CallbackSender":
        monkeypatch.setattr(sending, "_native", None)
    return str(request.param)


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    """A mock cluster with the topic of the publishers."""
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        yield cluster
