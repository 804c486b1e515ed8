"""Deliveries and the serving of their reports, without a broker."""

from __future__ import annotations

import gc
import importlib
import shutil
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import vecferry.producers
from confluent_kafka import KafkaError, KafkaException
from hypothesis import example, given
from hypothesis import strategies as st
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import Inconclusive, NotDelivered
from vecferry.producers import delivery
from vecferry.producers.outstanding import Book
from vecferry.producers.reports import Reports
from vecferry.schemas.position import encode_position

COMPILER = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
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


@contextmanager
def python_alone() -> Iterator[ModuleType]:
    """``vecferry.producers.delivery`` as where nothing could be compiled."""
    again = ("vecferry.producers.acks", "vecferry.producers.delivery")
    with pytest.MonkeyPatch.context() as patch:
        for name in again:
            patch.delitem(sys.modules, name)
            patch.setattr(vecferry.producers, name.rpartition(".")[2], None)
        patch.setitem(sys.modules, "vecferry.producers._native", None)
        patch.delattr(vecferry.producers, "_native", raising=False)
        yield importlib.import_module("vecferry.producers.delivery")


with python_alone() as python_delivery:
    KINDS = {"compiled": delivery, "python": python_delivery}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> ModuleType:
    return KINDS[request.param]


def make_book() -> Book:
    return Book("shop.products.events", epoch=1, partitions=4, on_outgrown=lambda problem: None)


@pytest.fixture
def book() -> Book:
    return make_book()


def reported(delivery: Any, *reports: Report) -> Any:
    for report in reports:
        delivery(None, report)
    return delivery


def test_deliveries_are_compiled_where_they_can_be_and_never_collected() -> None:
    assert delivery.Delivery.__mro__[1].__module__.endswith("_native" if COMPILER else ".acks")
    assert python_delivery.Delivery.__mro__[1].__module__.endswith(".acks")
    if COMPILER:
        assert not gc.is_tracked(delivery.Delivery(make_book(), "a"))


def test_a_delivery_that_nobody_holds_is_gone_and_holds_nothing(kind: ModuleType, book: Book) -> None:
    class Id(str):
        """Of which a weak reference can be made."""

    ids = [Id("a"), Id("b")]
    gone = [weakref.ref(id_) for id_ in ids]
    made = [kind.Delivery(book, ids[0]), kind.BatchDelivery(book, ids[1])]
    error = KafkaError(KafkaError._MSG_TIMED_OUT)
    before = sys.getrefcount(error)
    made[0](error, Report(None, None))
    made[1].seal()
    book.take_failures()
    del made, ids
    assert [reference() for reference in gone] == [None, None]
    assert sys.getrefcount(error) == before


def test_a_write_acknowledged_without_an_offset_is_not_called_delivered(kind: ModuleType, book: Book) -> None:
    with pytest.raises(NotDelivered, match=r"without an offset.*publish again what was not"):
        reported(kind.Delivery(book, "a"), Report(UNKNOWN_OFFSET)).result(0)


def test_a_batch_with_such_a_write_has_no_token(kind: ModuleType, book: Book) -> None:
    batch = reported(kind.BatchDelivery(book, "a"), Report(7), Report(UNKNOWN_OFFSET))
    batch.taken = 2
    batch.seal()
    with pytest.raises(NotDelivered, match=r"1 of the batch of 2.*without an offset"):
        batch.result(0)


def test_the_token_of_a_batch_has_the_last_offset_of_each_partition(kind: ModuleType, book: Book) -> None:
    batch = reported(kind.BatchDelivery(book, "a"), Report(7), Report(0, where=2), Report(9), Report(8))
    batch.taken = 4
    batch.seal()
    assert batch.result(0).positions == {0: encode_position(1, 9), 2: encode_position(1, 0)}


def test_a_failure_is_named_once(kind: ModuleType, book: Book) -> None:
    kind.Delivery(book, "a")(KafkaError(KafkaError._MSG_TIMED_OUT), Report(UNKNOWN_OFFSET))
    assert len(book.take_failures()) == 1
    assert book.take_failures() == []


def test_a_misplaced_record_is_noticed_however_many_failed_before_it(kind: ModuleType) -> None:
    problems: list[str] = []
    book = Book("shop.products.events", epoch=1, partitions=4, on_outgrown=problems.append)
    batch = kind.BatchDelivery(book, "a")
    for _ in range(50):
        batch(KafkaError(KafkaError._MSG_TIMED_OUT), Report(None))
    assert not problems
    batch(None, Report(5, where=4))
    assert len(problems) == 1


def test_offsets_that_librdkafka_made_up_are_none(kind: ModuleType, book: Book) -> None:
    batch = kind.BatchDelivery(book, "a")
    batch.taken = 4
    batch.seal()
    for at, where in ((5, 0), (None, 0), (7, 1), (0, 0)):
        batch(None, Report(at, where=where))
    with pytest.raises(NotDelivered, match="2 of the batch of 4"):
        batch.result(0)
    one = kind.Delivery(book, "a")
    one(None, Report(6))
    assert one.result(0).positions == {0: encode_position(1, 6)}


some_reports = st.tuples(
    st.sampled_from([None, None, None, KafkaError._MSG_TIMED_OUT]),
    st.builds(
        Report,
        at=st.sampled_from([0, 7, 9, 2**40, UNKNOWN_OFFSET, None]),
        where=st.sampled_from([0, 1, 3, 4, -1, None]),
    ),
)


def told(made: Any, book: Book) -> list[object]:
    """All that anybody can learn of a delivery."""
    try:
        result: object = made.result(0)
    except (NotDelivered, Inconclusive) as error:
        result = str(error)
    return [made.done(), made in book.pending, len(book.failed), made.problem(), result]


def story_of_one(kind: ModuleType, error: int | None, report: Report, waiters: int) -> list[object]:
    book, woken = make_book(), []
    made = kind.Delivery(book, "a")
    book.pending[made] = None
    for number in range(waiters):
        made._add_waiter(lambda number=number: woken.append((number, made.done(), len(book.failed))))
    said = told(made, book)
    made(None if error is None else KafkaError(error), report)
    return [*said, len(book.failed), *told(made, book), woken, book.take_failures()]


@given(some_reports, st.integers(0, 2))
@example((None, Report(5, 4)), 1)
@example((None, Report(0, 3)), 1)
@example((None, Report(-1, 0)), 1)
@example((None, Report(7, -1)), 1)
def test_one_record_is_told_alike(reported: tuple[int | None, Report], waiters: int) -> None:
    stories = [story_of_one(kind, *reported, waiters) for kind in KINDS.values()]
    assert stories[0] == stories[1]


def story_of_batch(
    kind: ModuleType, reports: list[tuple[int | None, Report]], sent: int, sealed_at: int
) -> list[object]:
    book, said = make_book(), []
    made = kind.BatchDelivery(book, "a")
    book.pending[made] = None
    made._add_waiter(lambda: said.append(["woken", made.done(), len(book.failed)]))
    for number, (error, report) in enumerate([*reports, (None, Report(None))]):
        if number == min(sealed_at, len(reports)):
            made.taken = sent
            made.seal()
        said.append(told(made, book))
        if number < len(reports):
            made(None if error is None else KafkaError(error), report)
    return [*said, told(made, book), book.take_failures()]


@given(st.lists(some_reports, max_size=6), st.integers(0, 1), st.integers(0, 6))
@example([(None, Report(7)), (None, Report(9)), (None, Report(8))], 0, 0)
@example([(None, Report(0, 3)), (None, Report(5, 4))], 0, 9)
@example([(None, Report(7)), (KafkaError._MSG_TIMED_OUT, Report(None))], 0, 1)
@example([], 0, 0)
@example([(None, Report(7))], 1, 0)
def test_a_batch_is_told_alike(reports: list[tuple[int | None, Report]], missing: int, sealed_at: int) -> None:
    stories = [story_of_batch(kind, reports, len(reports) + missing, sealed_at) for kind in KINDS.values()]
    assert stories[0] == stories[1]


class CountingSender:
    """Tells how many threads were inside ``poll`` at once. Its own client."""

    def __init__(self) -> None:
        self.producer = self
        self.inside = self.most = self.polls = self.drained = 0
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

    def drain(self) -> None:
        self.drained += 1
        assert self.most == 1

    def tell(self) -> None:
        assert self.inside == 0


def test_reports_are_served_by_one_thread_at_a_time() -> None:
    sender = CountingSender()
    reports = Reports(sender, "reports", lambda error: None, SYSTEM_CLOCK)  # type: ignore[arg-type]
    assert sender.entered.wait(10)
    reports.serve()  # returns at once, although the thread holds the client
    assert (sender.polls, sender.most) == (1, 1)
    sender.leave.set()
    reports.stop()
    assert sender.most == 1


def test_a_client_that_stops_for_good_has_its_last_reports_taken_in() -> None:
    sender, errors = CountingSender(), []
    sender.error = KafkaError(KafkaError._FATAL)
    sender.leave.set()
    reports = Reports(sender, "reports", errors.append, SYSTEM_CLOCK)  # type: ignore[arg-type]
    assert sender.entered.wait(10)
    reports.stop()
    assert errors[0] == sender.error
    assert sender.drained == sender.polls
