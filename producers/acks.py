"""What the Kafka client calls with its delivery reports: compiled (``_acks.c``), or the same in Python.

Millions of these live for milliseconds and most are never waited for, so they are slots and flags; an Event or a future
is made only by who waits. The compiled ones cost less, and the collector of garbage does not look at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaError, Message

from .outstanding import Book, Waiters


class _Base:
    __slots__ = ("_book", "_done", "_waiters")

    _book: Book
    _done: bool
    _waiters: Waiters

    def _begin(self, book: Book) -> None:
        self._book = book
        self._done = False  # set before the waiters are looked for
        self._waiters = None

    def _take(self, error: KafkaError | None, partition: int | None, offset: int | None, message: Message) -> bool:
        """Whether the record lies where it should; if not, ``_unplaced`` was told."""
        placed = partition is not None and 0 <= partition < self._book.partitions
        if error is None and placed and offset is not None and offset >= 0:
            return True
        self._unplaced(error, message)  # type: ignore[attr-defined]  # of the class that is made of this one
        return False

    def _finish(self) -> None:
        self._done = True
        self._book.pending.pop(self, None)  # type: ignore[call-overload]
        if self._waiters is not None:
            self._wake()  # type: ignore[attr-defined]


class Ack(_Base):
    """Of one record: where it lies, or in ``_error`` why it does not."""

    __slots__ = ("_error", "_offset", "_partition", "id")

    id: str
    _error: KafkaError | None
    _partition: int
    _offset: int

    def __new__(cls, book: Book, id_: str, /) -> Self:
        """One that waits."""
        self = super().__new__(cls)
        self._begin(book)
        self._error = None
        self.id = id_
        return self

    def __call__(self, error: KafkaError | None, message: Message, /) -> None:
        """The Kafka client's delivery report."""
        partition, offset = message.partition(), message.offset()
        if self._take(error, partition, offset, message):
            self._partition, self._offset = partition, offset  # type: ignore[assignment]
        self._finish()


class BatchAck(_Base):
    """Of ``_sent`` records: the highest offset in each partition. Finishes once it is known how many, and all came."""

    __slots__ = ("_acknowledged", "_failures", "_offsets", "_sent", "first_id")

    first_id: str
    _sent: int  # 0 until the publishing thread has sent all of them
    _acknowledged: int  # written by delivery reports only, which are served by one thread at a time
    _failures: int
    _offsets: dict[int, int]

    def __new__(cls, book: Book, first_id: str, /) -> Self:
        """One that waits."""
        self = super().__new__(cls)
        self._begin(book)
        self.first_id, self._offsets = first_id, {}
        self._sent = self._acknowledged = self._failures = 0
        return self

    def __call__(self, error: KafkaError | None, message: Message, /) -> None:
        """The Kafka client's delivery report for one record of the batch."""
        partition, offset = message.partition(), message.offset()
        if not self._take(error, partition, offset, message):
            self._failures += 1
        elif offset > self._offsets.get(partition, -1):  # type: ignore[operator, arg-type]
            self._offsets[partition] = offset  # type: ignore[index, assignment]
        self._acknowledged += 1
        self._finish_if_complete()

    def _finish_if_complete(self) -> None:
        if self._acknowledged == self._sent and not self._done:
            if self._failures:
                self._book.fail(self)  # type: ignore[arg-type]  # before anybody is woken, who would ask for the result
            self._finish()


if not TYPE_CHECKING:
    try:
        from . import _acks
    except ImportError:  # built without a compiler
        pass
    else:
        Ack, BatchAck = _acks.Ack, _acks.BatchAck
