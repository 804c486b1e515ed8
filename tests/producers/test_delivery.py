"""Deliveries and the serving of their reports, without a broker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import example, given
from hypothesis import strategies as st
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import NotDelivered
from vecferry.producers.delivery import BatchDelivery, Delivery
from vecferry.producers.outstanding import Book
from vecferry.producers.reports import Reports
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import Run

UNKNOWN_OFFSET = -1001  # what the client reports when only a retry of the record was answered, as a duplicate


@dataclass(frozen=True)
class Report:
    at: int | None
    where: int | None = 0

    def partition(self) -> int | None:
        return self.where

    def offset(self) -> int | None:
        return self.at

    def key(self) -> bytes:
        return b"a"


def make_book() -> Book:
    return Book("shop.products.events", epoch=1, partitions=4, on_outgrown=lambda problem: None)


@pytest.fixture
def book() -> Book:
    return make_book()


def reported(delivery: Any, *reports: Report) -> Any:
    for report in reports:
        delivery(None, report)
    return delivery


def test_a_write_acknowledged_without_an_offset_is_not_called_delivered(book: Book) -> None:
    with pytest.raises(NotDelivered, match=r"without an offset.*publish it again, unless a newer write"):
        reported(Delivery(book, "a"), Report(UNKNOWN_OFFSET)).result(0)


def test_a_batch_with_such_a_write_has_no_token(book: Book) -> None:
    batch = reported(BatchDelivery(book, "a"), Report(7), Report(UNKNOWN_OFFSET))
    batch.taken = 2
    batch.seal()
    with pytest.raises(NotDelivered, match=r"1 of the batch of 2.*without an offset"):
        batch.result(0)


def test_the_token_of_a_batch_has_the_last_offset_of_each_partition(book: Book) -> None:
    batch = reported(BatchDelivery(book, "a"), Report(7), Report(0, where=2), Report(8), Report(9))
    batch.taken = 4
    batch.seal()
    assert batch.result(0).positions == {0: encode_position(1, 9), 2: encode_position(1, 0)}


def test_a_failure_is_named_once(book: Book) -> None:
    Delivery(book, "a")(KafkaError(KafkaError._MSG_TIMED_OUT), Report(UNKNOWN_OFFSET))
    assert len(book.take_failures()) == 1
    assert book.take_failures() == []


def test_a_misplaced_record_is_noticed_however_many_failed_before_it() -> None:
    problems: list[str] = []
    book = Book("shop.products.events", epoch=1, partitions=4, on_outgrown=problems.append)
    batch = BatchDelivery(book, "a")
    for _ in range(50):
        batch(KafkaError(KafkaError._MSG_TIMED_OUT), Report(None))
    assert not problems
    batch(None, Report(5, where=4))
    assert len(problems) == 1


def test_offsets_that_librdkafka_made_up_are_none(book: Book) -> None:
    batch = BatchDelivery(book, "a")
    batch.taken = 4
    batch.seal()
    for at, where in ((5, 0), (None, 0), (7, 1), (0, 0)):
        batch(None, Report(at, where=where))
    with pytest.raises(NotDelivered, match="2 of the batch of 4"):
        batch.result(0)
    one = Delivery(book, "a")
    one(None, Report(6))
    assert one.result(0).positions == {0: encode_position(1, 6)}


def test_an_offset_that_does_not_rise_is_none(book: Book) -> None:
    assert reported(Delivery(book, "a"), Report(7)).result(0).positions == {0: encode_position(1, 7)}
    with pytest.raises(NotDelivered, match="without an offset of its own"):
        reported(Delivery(book, "b"), Report(7)).result(0)
    assert reported(Delivery(book, "c"), Report(0, where=1)).result(0).positions == {1: encode_position(1, 0)}


some_reports = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=6)


@given(some_reports, st.integers(0, 6))
@example([], 0)
@example([(True, 0), (False, 0), (True, 0)], 1)
def test_a_batch_is_done_once_it_is_sealed_and_all_have_reported(
    reports: list[tuple[bool, int]], sealed_at: int
) -> None:
    book, woken = make_book(), []
    batch = BatchDelivery(book, "a")
    book.pending[batch] = None
    batch._add_waiter(lambda: woken.append(len(book.failed)))
    positions: dict[int, int] = {}
    for number, (lies, where) in enumerate([*reports, (False, 0)]):
        if number == min(sealed_at, len(reports)):
            batch.taken = len(reports)
            batch.seal()
        assert batch.done() == (batch not in book.pending) == (number == len(reports))
        if number == len(reports):
            break
        batch(None if lies else KafkaError(KafkaError._MSG_TIMED_OUT), Report(number, where))
        if lies:
            positions[where] = encode_position(1, number)
    failures = sum(not lies for lies, _ in reports)
    assert woken == [min(failures, 1)]  # once, and what failed is known by then
    if failures:
        with pytest.raises(NotDelivered, match=f"{failures} of the batch of {len(reports)}.*_MSG_TIMED_OUT"):
            batch.result(0)
    else:
        assert batch.result(0).positions == positions
    assert book.take_failures() == []  # result has named them


class CountingClient:
    """Tells how many threads were inside ``poll`` at once."""

    def __init__(self) -> None:
        self.inside = self.most = self.polls = 0
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.error: KafkaError | None = None

    def poll(self, timeout_s: float) -> int:
        self.inside += 1
        self.polls += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        self.leave.wait(10)
        self.inside -= 1
        if self.error is not None:
            raise KafkaException(self.error)
        return 1


def test_reports_are_served_by_one_thread_at_a_time() -> None:
    client = CountingClient()
    reports = Reports(client, "reports", lambda error: None, SYSTEM_CLOCK)  # type: ignore[arg-type]
    assert client.entered.wait(10)
    reports.serve()  # returns at once, although the thread holds the client
    assert (client.polls, client.most) == (1, 1)
    client.leave.set()
    reports.stop()
    assert client.most == 1


def test_a_client_that_stops_for_good_is_told_of() -> None:
    client, errors = CountingClient(), []
    client.error = KafkaError(KafkaError._FATAL)
    client.leave.set()
    reports = Reports(client, "reports", errors.append, SYSTEM_CLOCK)  # type: ignore[arg-type]
    assert client.entered.wait(10)
    reports.stop()
    assert errors[0] == client.error


def test_the_token_of_a_batch_knows_which_writes_are_its_own(book: Book) -> None:
    """Between them lie those of others, which no reader of this token waits for."""
    reports = [Report(4), Report(5), Report(0, 2), Report(7), Report(8), Report(3, 2)]
    batch = reported(BatchDelivery(book, "a"), *reports)
    batch.taken = len(reports)
    batch.seal()
    token = batch.result(0)
    at = partial(encode_position, 1)
    assert dict(token.positions) == {0: at(8), 2: at(3)}
    assert set(token.writes) == {Run(0, at(4), at(5)), Run(0, at(7), at(8)), Run(2, at(0), at(0)), Run(2, at(3), at(3))}
    (one,) = reported(Delivery(book, "a"), Report(9)).result(0).writes
    assert one == Run(0, at(9), at(9))
