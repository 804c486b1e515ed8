"""A publisher whose client's queue is full."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from mock_kafka import MockKafka
from publishing import TOPIC, VECTOR, D, open_publisher, read_all, warm
from vecferry.errors import NotDelivered, Refused
from vecferry.producers.reports import Reports

pytestmark = pytest.mark.slow


@pytest.fixture
def waits_for_room(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a call waits for room in the client's queue."""
    waits, wait_for_room = threading.Event(), Reports.wait_for_room

    def noted(reports: Reports) -> None:
        waits.set()
        wait_for_room(reports)

    monkeypatch.setattr(Reports, "wait_for_room", noted)
    return waits


def test_a_full_queue_raises_when_asked_to(kafka: MockKafka) -> None:
    options = {"queue.buffering.max.messages": 10}
    with open_publisher(kafka, options, on_full="raise") as publisher:
        warm(publisher)
        kafka.set_down()
        accepted = [publisher.upsert(f"id-{i}", VECTOR) for i in range(10)]
        with pytest.raises(NotDelivered, match="queue is full"):
            publisher.upsert("one-too-many", VECTOR)
        with pytest.raises(NotDelivered, match="0 of 2 rows were accepted"):
            publisher.upsert_many(["x", "y"], np.ones((2, D)))
        kafka.set_up()
        for delivery in accepted:
            delivery.result(timeout=30)
    assert len(read_all(kafka, 11)) == 11


def test_the_accepted_rows_of_a_broken_off_batch_are_still_awaited(kafka: MockKafka) -> None:
    with open_publisher(kafka, {"queue.buffering.max.messages": 10}, on_full="raise") as publisher:
        warm(publisher)
        kafka.set_down()
        with pytest.raises(NotDelivered, match="10 of 20 rows were accepted"):
            publisher.upsert_many([f"id-{i}" for i in range(20)], np.ones((20, D)))
        with pytest.raises(NotDelivered, match=r"10 of the batch of 10 that starts with 'id-0'.*not acknowledged yet"):
            publisher.flush(0.05)
        kafka.set_up()
    assert len(read_all(kafka, 11)) == 11


def test_closing_does_not_wait_for_a_call_that_still_waits_for_room(
    kafka: MockKafka, waits_for_room: threading.Event
) -> None:
    publisher = open_publisher(kafka, {"queue.buffering.max.messages": 1}, close_timeout_s=30.0)
    warm(publisher)
    kafka.set_down()
    accepted = publisher.upsert("a", VECTOR)
    refused: list[str] = []

    def write() -> None:
        try:
            publisher.upsert("b", VECTOR)
        except Refused as error:
            refused.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    assert waits_for_room.wait(30)
    closer = threading.Thread(target=publisher.close)
    closer.start()
    writer.join(30)
    assert "closed" in refused[0]
    kafka.set_up()
    closer.join(60)
    assert accepted.result(timeout=0).topic == TOPIC
    assert read_all(kafka, 2).ids.count("b") == 0


def test_a_full_queue_blocks_until_there_is_room(kafka: MockKafka, waits_for_room: threading.Event) -> None:
    with open_publisher(kafka, {"queue.buffering.max.messages": 10}) as publisher:
        warm(publisher)
        kafka.set_down()
        done = threading.Event()

        def write() -> None:
            for i in range(30):
                publisher.upsert(f"id-{i}", VECTOR)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert waits_for_room.wait(30)
        assert not done.is_set()
        kafka.set_up()
        writer.join(30)
        assert done.is_set()
    assert len(read_all(kafka, 31)) == 31
