"""The state of a delivery: compiled (``_acks.c``), or the same in Python.

Millions of these live for milliseconds and most are never waited for, so they are slots and flags; an Event or a future
is made only by who waits. The compiled ones cost less, and the collector of garbage does not look at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaError

from .outstanding import Book, Waiters


class Ack:
    """Of one record: where it lies, or in ``_error`` why it does not."""

    __slots__ = ("_book", "_done", "_error", "_offset", "_partition", "_waiters", "id")

    id: str
    _book: Book
    _done: bool  # set before the waiters are looked for
    _waiters: Waiters
    _error: KafkaError | None
    _partition: int
    _offset: int

    def __new__(cls, book: Book, id_: str, /) -> Self:
        """One that waits."""
        self = super().__new__(cls)
        self._book, self.id = book, id_
        self._done, self._waiters, self._error = False, None, None
        self._partition = self._offset = 0
        return self


class BatchAck:
    """Of ``_sent`` records: the highest offset in each partition. Finishes once it is known how many, and all came."""

    __slots__ = ("_acknowledged", "_book", "_done", "_failures", "_offsets", "_sent", "_waiters", "first_id", "taken")

    first_id: str
    _book: Book
    _done: bool
    _waiters: Waiters
    taken: int  # how many of them the client took so far
    _sent: int  # 0 until the publishing thread has sent all of them
    _acknowledged: int  # written with reports only, which are served by one thread at a time
    _failures: int
    _offsets: dict[int, int]

    def __new__(cls, book: Book, first_id: str, /) -> Self:
        """One that waits."""
        self = super().__new__(cls)
        self._book, self.first_id = book, first_id
        self._done, self._waiters, self._offsets = False, None, {}
        self.taken = self._sent = self._acknowledged = self._failures = 0
        return self


if not TYPE_CHECKING:
    try:
        from . import _native
    except ImportError:  # built without a compiler
        pass
    else:
        Ack, BatchAck = _native.Ack, _native.BatchAck
