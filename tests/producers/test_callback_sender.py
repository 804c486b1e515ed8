"""The sender that hands each delivery to the Python client."""

from __future__ import annotations

from vecferry.producers.delivery import BatchDelivery, Delivery
from vecferry.producers.outstanding import Book
from vecferry.producers.sending import CallbackSender

NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}  # records stay in the client's queue


def test_a_flush_waits_for_the_last_before_it_that_has_no_result() -> None:
    book = Book("t", epoch=1, partitions=4, on_outgrown=lambda problem: None)
    sender = CallbackSender(NOWHERE, "t", book)
    first, batch, second, later = (
        Delivery(book, "a"),
        BatchDelivery(book, "b"),
        Delivery(book, "c"),
        Delivery(book, "d"),
    )
    for delivery in (first, batch, second):
        sender.send(b"key", b"value", delivery)
    mark = sender.mark()
    sender.send(b"key", b"value", batch)
    sender.send(b"key", b"value", later)
    assert sender.last(0) is None
    assert sender.last(mark) is second
    assert sender.waiting(mark) == [first, batch, second]
    assert sender.last(sender.mark()) is later
    second.report(None, 0, 0, b"c")
    assert sender.last(mark) is batch
    for offset in (1, 2):
        batch.report(None, 0, offset, b"b")
    batch.seal()
    assert sender.last(mark) is first
    first.report(None, 0, 3, b"a")
    assert sender.last(mark) is None
    assert sender.waiting() == [later]
    sender.producer.purge()
    sender.producer.close()
