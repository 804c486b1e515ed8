"""What a publishing call returns: something to wait for, from a thread or from a coroutine.

Each is itself the client's callback for its records: a burst has a hundred thousand of them waiting, so a delivery is
one object with few slots.
"""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaError, Message

from ..errors import NotDelivered
from ..kafka_errors import meaning_of
from ..schemas.position import encode_position, next_offset
from ..schemas.tokens import Run, WriteToken
from .outstanding import Book, Outstanding

_MAX_NAMED = 10
_REMEDY = "publish it again, unless a newer write of the id was published since"


class Delivery(Outstanding):
    """One published write; its result is the :class:`WriteToken` of the record. Wait for it or await it."""

    __slots__ = ("_error", "_offset", "_partition", "id")

    _partition: int  # set with the report, as the offset
    _offset: int

    def __init__(self, book: Book, id_: str) -> None:
        self._book, self.id = book, id_
        self._done, self._waiters = False, None
        self._error: KafkaError | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """The client's delivery report, called once."""
        partition, offset = message.partition(), message.offset()
        cause = self._book.misplaced(partition, offset) if error is None else error
        if cause is not None:
            self.abandon(cause)
            return
        self._partition, self._offset = partition, offset  # type: ignore[assignment]  # misplaced refuses None
        self._finish()

    def withdraw(self) -> None:
        """Finish a delivery that no caller gets, so that a ``flush`` that waits for it continues."""
        self._finish()

    def abandon(self, error: KafkaError) -> None:
        """It failed with ``error``."""
        self._error = error
        self._book.fail(self)  # before any waiter wakes and asks for the result
        self._finish()

    def problem(self) -> str:
        """Why this failed, and what it was."""
        return f"{self.id!r}: {describe(self._error)}" if self._error is not None else repr(self.id)

    def _name(self) -> str:
        return f"{self.id!r}"

    def _outcome(self) -> WriteToken:
        if self._error is not None:
            self._book.failed.pop(self, None)
            raise NotDelivered(f"Kafka did not acknowledge {self.problem()}; {_REMEDY}")
        return WriteToken(self._book.topic, {self._partition: encode_position(self._book.epoch, self._offset)})


class BatchDelivery(Outstanding):
    """A published batch; its result is one :class:`WriteToken` for all its records. Wait for it or await it."""

    __slots__ = ("_acknowledged", "_errors", "_failures", "_first_id", "_gaps", "_offsets", "_sent", "taken")

    def __init__(self, book: Book, first_id: str) -> None:
        self._book, self._first_id = book, first_id
        self._done, self._waiters = False, None
        self.taken = 0  # how many of its records the client took so far
        self._sent = 0  # 0 until all were handed over
        self._acknowledged = self._failures = 0  # written with reports only, which one thread serves at a time
        self._offsets: dict[int, int] = {}  # by partition: the highest
        self._gaps: list[tuple[int, int, int]] = []  # partition, an offset of ours, the next one behind those of others
        self._errors: list[str] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """The client's delivery report, called once for each record."""
        partition, offset = message.partition(), message.offset()
        # Of every one: a single misplaced record stops the publisher.
        cause = self._book.misplaced(partition, offset) if error is None else error
        if cause is None:
            before = self._offsets.get(partition, -1)  # type: ignore[arg-type]
            if next_offset(before) != offset or before < 0:
                self._gaps.append((partition, before, offset))  # type: ignore[arg-type]
            self._offsets[partition] = offset  # type: ignore[index, assignment]  # they rise
        else:
            self._failures += 1
            if len(self._errors) < _MAX_NAMED:
                self._errors.append(f"{(message.key() or b'').decode()!r}: {describe(cause)}")
        self._acknowledged += 1
        if self._acknowledged == self._sent:
            self._complete()

    def seal(self) -> None:
        """Called once by the publisher: no more records will come than those that the client has ``taken``."""
        self._sent = self.taken
        if self._acknowledged == self._sent:
            self._complete()

    def withdraw(self) -> None:
        """The records that were taken before are still awaited: :meth:`seal` has the last word."""

    def abandon(self, error: KafkaError) -> None:
        """The records that nothing is known of failed with ``error``."""
        self._failures += max(1, self._sent - self._acknowledged)  # even if it is not known yet how many were sent
        self._acknowledged = self._sent
        self._errors.append(describe(error))
        self._complete()

    def problem(self) -> str:
        """Why this failed, and what it was."""
        named = "; ".join(self._errors)
        return f"{self._failures or self._sent - self._acknowledged} of {self._name()}{': ' if named else ''}{named}"

    def _name(self) -> str:
        return f"the batch of {self._sent} that starts with {self._first_id!r}"

    def _complete(self) -> None:
        if not self._done:
            if self._failures:
                self._book.fail(self)  # before any waiter wakes and asks for the result
            self._finish()

    def _outcome(self) -> WriteToken:
        if self._failures:
            self._book.failed.pop(self, None)
            raise NotDelivered(f"Kafka did not acknowledge {self.problem()}; {_REMEDY}")
        epoch = self._book.epoch
        positions = {p: encode_position(epoch, at) for p, at in self._offsets.items()}
        return WriteToken(self._book.topic, positions, tuple(self._runs(epoch)))

    def _runs(self, epoch: int) -> Iterator[Run]:
        ends = dict(self._offsets)
        for partition, before, first in reversed(self._gaps):
            yield Run(partition, encode_position(epoch, first), encode_position(epoch, ends[partition]))
            ends[partition] = before


def describe(error: KafkaError | None) -> str:
    """Kafka's reason, by name and in words, and what to do about one that lasts."""
    if error is None:
        return ""
    meaning = meaning_of(error)
    return f"{error.name()} ({error.str()}{f'; {meaning.remedy}' if meaning.lasts else ''})"
