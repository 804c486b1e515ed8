"""Offsets of groups: an answer can fail for a partition and succeed as a whole. Topics that come and go."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from confluent_kafka import Producer
from vecferry.config import load_config
from vecferry.errors import Unavailable
from vecferry.log.kafka import clients
from vecferry.log.kafka.admin import Admin
from vecferry.log.port import held_back
from vecferry.log.topics import LIVE_TOPIC
from waiting import wait_until

pytestmark = pytest.mark.server


def admin_of(bootstrap: str) -> Admin:
    config = {"namespace": "n", "kafka": {"bootstrap_servers": bootstrap}, "stores": {}, "collections": {}}
    return Admin(load_config(config).kafka)


def test_a_first_commit_is_there_when_it_returns(kafka_bootstrap: str) -> None:
    admin = admin_of(kafka_bootstrap)
    for _ in range(5):  # a topic this new is not known everywhere yet
        name = f"t{uuid.uuid4().hex}"
        admin.create_topic(name, 3, LIVE_TOPIC)
        admin.commit(name, name, {0: 0, 1: 5, 2: 7})
        assert admin.committed(name, name, 3) == {0: 0, 1: 5, 2: 7}


def test_a_commit_that_one_partition_refuses_is_not_taken_for_one(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_SETTLING", frozenset())
    admin = admin_of(kafka_bootstrap)
    name = f"t{uuid.uuid4().hex}"
    admin.create_topic(name, 1, LIVE_TOPIC)
    with pytest.raises(Unavailable):
        admin.commit(name, f"absent-{name}", {0: 0})


def test_writes_that_come_meanwhile_are_not_held_back_by_a_transaction(kafka_bootstrap: str) -> None:
    admin, name, stop = admin_of(kafka_bootstrap), f"t{uuid.uuid4().hex}", threading.Event()
    admin.create_topic(name, 1, LIVE_TOPIC)

    def write() -> None:
        producer = Producer({"bootstrap.servers": kafka_bootstrap, "linger.ms": 0})
        while not stop.is_set():
            producer.produce(name, b"x", partition=0)
            producer.flush(10)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: admin.end_offsets(name, 1)[0] > 0)
        seen = [admin.offsets(name, 1) for _ in range(100)]
    finally:
        stop.set()
        thread.join(30)
    assert seen[0].end < seen[-1].end
    assert [held_back(offsets.stable, offsets.end) for offsets in seen] == [{}] * 100


class Outrun:
    """An admin client behind whose first list a topic is deleted."""

    def __init__(self, client: Any, topic: str) -> None:
        self._client, self._topic, self._lists = client, topic, 0

    def list_topics(self, **arguments: Any) -> Any:
        listed = self._client.list_topics(**arguments)
        self._lists += 1
        if self._lists == 1:
            self._client.delete_topics([self._topic])[self._topic].result()
            wait_until(lambda: self._topic not in self._client.list_topics(timeout=10).topics)
        return listed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_topic_that_is_deleted_behind_its_listing_is_not_there(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = admin_of(kafka_bootstrap)
    names = [f"t{uuid.uuid4().hex}" for _ in range(2)]
    for name in names:
        admin.create_topic(name, 1, LIVE_TOPIC)
    wait_until(lambda: len(admin.topics(names)) == 2)
    monkeypatch.setattr(admin, "_client", Outrun(admin._client, names[0]))
    assert list(admin.topics(names)) == names[1:]
