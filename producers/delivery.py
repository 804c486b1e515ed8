"""What a publishing call returns: something to wait for, from a thread or from a coroutine.

Millions of these live for milliseconds and most are never waited for, so they are slots and flags; an Event or a future
is made only by who waits. No lock is taken on the way of an acknowledgement: whoever waits first adds itself and then
looks at ``_done``, whoever finishes sets ``_done`` and then looks for waiters, so one of them sees the other.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, Message

from ..errors import Inconclusive, NotDelivered
from ..schemas.position import encode_position
from ..schemas.tokens import WriteToken

_MAX_NAMED = 10
_MAX_FAILED = 10_000
_waiters_lock = threading.Lock()


class Book:
    """What one publisher still owes an answer for. Dicts change atomically; reads copy them first."""

    __slots__ = ("_lock", "_on_outgrown", "epoch", "failed", "forgotten", "partitions", "pending", "topic")

    def __init__(self, topic: str, *, epoch: int, partitions: int, on_outgrown: Callable[[str], None]) -> None:
        self.topic = topic
        self.epoch = epoch
        self.partitions = partitions
        self._on_outgrown = on_outgrown
        self._lock = threading.Lock()
        self.pending: dict[Outstanding, None] = {}  # in the order of publication
        self.failed: dict[Outstanding, None] = {}  # nobody has asked for their result yet
        self.forgotten = 0  # failures beyond what is kept

    def fail(self, delivery: Outstanding) -> None:
        """Keep a failed delivery until somebody asks for its result."""
        with self._lock:
            if len(self.failed) < _MAX_FAILED:
                self.failed[delivery] = None
            else:
                self.forgotten += 1

    def misplaced(self, partition: int | None, offset: int | None) -> KafkaError | None:
        """The failure of a record that was acknowledged where nobody can find it; None where it lies well."""
        if partition is None or offset is None or offset < 0:
            return KafkaError(KafkaError._INCONSISTENT, "it was acknowledged without an offset")
        if partition < self.partitions:
            return None
        problem = (
            f"it lies in partition {partition} of {self.topic}, which had {self.partitions}: partitions were added, "
            "and workers refuse what lies in another partition than its id had"
        )
        self._on_outgrown(problem)
        return KafkaError(KafkaError.INVALID_PARTITIONS, problem)

    def take_failures(self) -> list[str]:
        """One line per failure not yet reported to anybody, each reported once."""
        with self._lock:
            failed, self.failed = self.failed, {}
            forgotten, self.forgotten = self.forgotten, 0
        return [delivery.problem() for delivery in failed] + ([f"{forgotten} more"] if forgotten else [])


class Outstanding(ABC):
    """Something published that Kafka has not answered for yet, or has."""

    __slots__ = ("_book", "_done", "_waiters")

    def __init__(self, book: Book) -> None:
        self._book = book
        self._done = False
        self._waiters: list[Callable[[], None]] | None = None

    def done(self) -> bool:
        """True once the result is known."""
        return self._done

    def result(self, timeout: float | None = None) -> WriteToken:
        """Block until Kafka has acknowledged; ``timeout`` in seconds, None for as long as it takes.

        Raises NotDelivered with Kafka's reason, and Inconclusive on time-out (the record may still be delivered).
        """
        if not self.wait(timeout):
            raise Inconclusive(f"{self._name()} was not acknowledged within {timeout} s; it may still be, wait again")
        return self._outcome()

    def wait(self, timeout: float | None) -> bool:
        """Block until the result is known, at most ``timeout`` seconds; whether it is."""
        if self._done:
            return True
        event = threading.Event()
        self._add_waiter(event.set)
        return event.wait(timeout)

    def __await__(self) -> Generator[Any, None, WriteToken]:
        """As :meth:`result` without a time-out, for coroutines: never blocks the loop, resumes in it."""
        if not self._done:
            loop = asyncio.get_running_loop()
            future = loop.create_future()

            def wake() -> None:
                with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                    loop.call_soon_threadsafe(_resolve, future)

            self._add_waiter(wake)
            yield from future.__await__()
        return self._outcome()

    @abstractmethod
    def withdraw(self) -> None:
        """Called by the publisher when the client did not take the record and the caller is told so instead."""

    @abstractmethod
    def problem(self) -> str:
        """Why this failed, and what it was."""

    @abstractmethod
    def _name(self) -> str: ...

    @abstractmethod
    def _outcome(self) -> WriteToken: ...

    def _finish(self) -> None:
        self._done = True
        self._book.pending.pop(self, None)
        if self._waiters is not None:
            self._wake()

    def _add_waiter(self, waiter: Callable[[], None]) -> None:
        with _waiters_lock:
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
        if self._done:
            self._wake()

    def _wake(self) -> None:
        with _waiters_lock:
            waiters, self._waiters = self._waiters or [], None
        for waiter in waiters:
            waiter()


class Delivery(Outstanding):
    """One published write; its result is the :class:`WriteToken` of the record. Wait for it or await it."""

    __slots__ = ("_error", "_offset", "_partition", "id")

    def __init__(self, book: Book, id_: str) -> None:
        self._book = book  # not by super(): this is made for every publication
        self._done = False
        self._waiters = None
        self._error: KafkaError | None = None
        self.id = id_

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """The Kafka client's delivery report."""
        self._partition: int = message.partition()  # type: ignore[assignment]  # None only before delivery
        self._offset: int = message.offset()  # type: ignore[assignment]
        if error is None and not (self._offset >= 0 and self._partition < self._book.partitions):
            error = self._book.misplaced(self._partition, self._offset)
        if error is not None:
            self._error = error
            self._book.fail(self)
        self._done = True  # as _finish does, without the call
        self._book.pending.pop(self, None)
        if self._waiters is not None:
            self._wake()

    def withdraw(self) -> None:
        """Nobody holds this delivery; a flush that meanwhile waits for it goes on."""
        self._finish()

    def problem(self) -> str:
        """Why this failed, and what it was."""
        return f"{self.id!r}: {describe(self._error)}" if self._error is not None else repr(self.id)

    def _name(self) -> str:
        return f"{self.id!r}"

    def _outcome(self) -> WriteToken:
        if self._error is not None:
            self._book.failed.pop(self, None)
            raise NotDelivered(f"Kafka did not acknowledge {self.problem()}; publishing it again is safe")
        return WriteToken(self._book.topic, {self._partition: encode_position(self._book.epoch, self._offset)})


class BatchDelivery(Outstanding):
    """A published batch; its result is one :class:`WriteToken` for all its records. Wait for it or await it."""

    __slots__ = ("_acknowledged", "_errors", "_failures", "_offsets", "_sent", "first_id", "sealed")

    def __init__(self, book: Book, first_id: str) -> None:
        super().__init__(book)
        self.first_id = first_id
        self.sealed = False
        self._sent = 0  # written by the publishing thread only
        self._acknowledged = 0  # written by delivery reports only, which are served by one thread at a time
        self._offsets: dict[int, int] = {}
        self._failures = 0
        self._errors: list[str] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """The Kafka client's delivery report for one record of the batch."""
        partition: int = message.partition()  # type: ignore[assignment]  # None only before delivery
        offset: int = message.offset()  # type: ignore[assignment]
        if error is None and not (offset >= 0 and partition < self._book.partitions):
            error = self._book.misplaced(partition, offset)
        if error is None:
            if offset > self._offsets.get(partition, -1):
                self._offsets[partition] = offset
        else:
            self._failures += 1
            if len(self._errors) < _MAX_NAMED:
                self._errors.append(f"{(message.key() or b'').decode()!r}: {describe(error)}")
        self._acknowledged += 1
        if self.sealed:
            self._finish_if_complete()

    def withdraw(self) -> None:
        """The records that were taken before are still awaited: :meth:`seal` has the last word."""

    def seal(self, sent: int) -> None:
        """Called once by the publisher: ``sent`` records were handed to the client, no more will come."""
        self._sent = sent
        self.sealed = True
        self._finish_if_complete()

    def problem(self) -> str:
        """Why this failed, and what it was."""
        named = "; ".join(self._errors)
        return f"{self._failures or self._sent - self._acknowledged} of {self._name()}{': ' if named else ''}{named}"

    def _finish_if_complete(self) -> None:
        if self._acknowledged == self._sent and not self._done:
            if self._failures:
                self._book.fail(self)
            self._finish()

    def _name(self) -> str:
        return f"the batch of {self._sent} that starts with {self.first_id!r}"

    def _outcome(self) -> WriteToken:
        if self._failures:
            self._book.failed.pop(self, None)
            raise NotDelivered(f"Kafka did not acknowledge {self.problem()}; publishing them again is safe")
        epoch = self._book.epoch
        return WriteToken(self._book.topic, {p: encode_position(epoch, at) for p, at in self._offsets.items()})


def describe(error: KafkaError | None) -> str:
    """Kafka's reason, by name and in words."""
    return "" if error is None else f"{error.name()} ({error.str()})"


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
