"""Deliveries and the serving of their reports, without a broker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import NotDelivered
from vecferry.producers.delivery import BatchDelivery, Book, Delivery
from vecferry.producers.reports import Reports
from vecferry.schemas.position import encode_position

UNKNOWN_OFFSET = -1001  # what the client reports when only a retry of the record was answered, as a duplicate


@dataclass
class Report:
    at: int
    where: int = 0

    def partition(self) -> int:
        return self.where

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return b"a"


@pytest.fixture
def book() -> Book:
    return Book("shop.products.events", epoch=1, partitions=4, on_outgrown=lambda problem: None)


def reported(delivery: Any, *reports: Report) -> Any:
    for report in reports:
        delivery(None, report)
    return delivery


def test_a_write_acknowledged_without_an_offset_is_not_called_delivered(book: Book) -> None:
    with pytest.raises(NotDelivered, match=r"without an offset.*again is safe"):
        reported(Delivery(book, "a"), Report(UNKNOWN_OFFSET)).result(0)


def test_a_batch_with_such_a_write_has_no_token(book: Book) -> None:
    batch = reported(BatchDelivery(book, "a"), Report(7), Report(UNKNOWN_OFFSET))
    batch.seal(2)
    with pytest.raises(NotDelivered, match=r"1 of the batch of 2.*without an offset"):
        batch.result(0)


def test_the_token_of_a_batch_has_the_last_offset_of_each_partition(book: Book) -> None:
    batch = reported(BatchDelivery(book, "a"), Report(7), Report(0, where=2), Report(9), Report(8))
    batch.seal(4)
    assert batch.result(0).positions == {0: encode_position(1, 9), 2: encode_position(1, 0)}


def test_a_failure_is_named_once(book: Book) -> None:
    Delivery(book, "a")(KafkaError(KafkaError._MSG_TIMED_OUT), Report(UNKNOWN_OFFSET))
    assert len(book.take_failures()) == 1
    assert book.take_failures() == []


class CountingProducer:
    """Tells how many threads were inside ``poll`` at once."""

    def __init__(self) -> None:
        self.inside = self.most = self.polls = 0
        self.entered = threading.Event()
        self.leave = threading.Event()

    def poll(self, timeout_s: float) -> int:
        self.inside += 1
        self.polls += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        self.leave.wait(10)
        self.inside -= 1
        return 1


def test_reports_are_served_by_one_thread_at_a_time() -> None:
    producer = CountingProducer()
    reports = Reports(producer, "reports", lambda error: None, SYSTEM_CLOCK)  # type: ignore[arg-type]
    assert producer.entered.wait(10)
    reports.serve()  # returns at once, although the thread holds the client
    assert (producer.polls, producer.most) == (1, 1)
    producer.leave.set()
    reports.stop()
    assert producer.most == 1
