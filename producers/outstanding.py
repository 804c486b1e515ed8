"""Publications whose acknowledgement is outstanding, and the book in which a publisher keeps them.

An acknowledgement takes no lock. A waiter first adds itself and then reads ``_done``; the acknowledgement first sets
``_done`` and then reads the waiters. So at least one of them sees the other.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError

from ..errors import Inconclusive, InvalidRecord
from ..forks import Home, ModuleLock
from ..schemas.tokens import WriteToken

_MAX_FAILED = 10_000
_LONGEST_S = 1e6  # threads cannot wait for much longer
_waiters_lock = ModuleLock()


def seconds(timeout: float) -> float:
    """``timeout`` if it is a number of seconds that a thread can wait for; raises InvalidRecord."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout <= _LONGEST_S:
        raise InvalidRecord("timeout", f"{timeout!r:.40} is not a time", "pass a number of seconds")
    return float(timeout)


class Book:
    """The outstanding and failed publications of one publisher. Dicts change atomically; copy them before iterating."""

    __slots__ = (
        *("__weakref__", "_lock", "_newest", "_on_doubt", "_on_outgrown"),
        *("epoch", "failed", "forgotten", "home", "partitions", "pending", "stopped", "topic"),
    )

    def __init__(
        self,
        topic: str,
        *,
        epoch: int,
        partitions: int,
        on_outgrown: Callable[[str], None],
        log_ends: Sequence[int] = (),
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        """``log_ends``: where the partitions ended; offsets below were given out before.

        ``on_doubt`` is called when an offset is given out once more.
        """
        self.topic = topic
        self.home = Home(f"this write to {topic}", self)
        self.epoch = epoch
        self.partitions = partitions
        self._on_outgrown = on_outgrown
        self._lock = threading.Lock()
        self.pending: dict[Outstanding, None] = {}  # in the order of the calls
        self.failed: dict[Outstanding, None] = {}  # nobody has asked for their result yet
        self.forgotten = 0  # failures beyond what is kept
        self._on_doubt = on_doubt
        self.stopped: KafkaError | None = None  # why the client stopped for good; what it had not sent then, it gave up
        # By partition: the highest offset that was given out, as far as is known.
        self._newest = [end - 1 for end in log_ends] or [-1] * partitions

    def fail(self, delivery: Outstanding) -> None:
        """Keep a failed delivery until somebody asks for its result."""
        with self._lock:
            if len(self.failed) < _MAX_FAILED:
                self.failed[delivery] = None
            else:
                self.forgotten += 1

    def misplaced(self, partition: int | None, offset: int | None) -> KafkaError | None:
        """The failure of a record that was acknowledged without a place in the log; None if its place is plausible.

        Reports of a partition come in the order of its records, so their offsets rise. An offset that does not rise is
        made up: if a broker calls a batch a duplicate and no longer knows its offset, librdkafka counts up from -1.
        """
        if partition is None or partition < 0 or offset is None:
            return KafkaError(KafkaError._INCONSISTENT, "it was acknowledged without an offset")
        if partition >= self.partitions:
            problem = (
                f"it lies in partition {partition} of {self.topic}, which had {self.partitions}: partitions were "
                "added, and workers refuse an event that is not in the partition of its id"
            )
            self._on_outgrown(problem)
            return KafkaError(KafkaError.INVALID_PARTITIONS, problem)
        if offset <= self._newest[partition]:
            self._on_doubt()
            return KafkaError(KafkaError._INCONSISTENT, "it was acknowledged without an offset of its own")
        self._newest[partition] = offset
        return None

    def newest(self) -> tuple[int, ...]:
        """By partition: the highest offset that was given out, as far as is known; -1 where none was."""
        return tuple(self._newest)

    def take_failures(self) -> list[str]:
        """One line per failure not yet reported to anybody, each reported once."""
        with self._lock:
            failed, self.failed = self.failed, {}
            forgotten, self.forgotten = self.forgotten, 0
        return [delivery.problem() for delivery in failed] + ([f"{forgotten} more"] if forgotten else [])


class Outstanding(ABC):
    """A publication, from the call until Kafka has acknowledged or refused it."""

    __slots__ = ("_book", "_done", "_waiters")

    _book: Book
    _done: bool  # set before the waiters are looked for
    _waiters: list[Callable[[], None]] | None

    def done(self) -> bool:
        """True once the result is known. Raises Forked in a child, where it would never be."""
        if not self._done:
            self._book.home.check()
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
        if self.done():
            return True
        event = threading.Event()
        self._add_waiter(event.set)
        return event.wait(None if timeout is None else seconds(timeout))

    def __await__(self) -> Generator[Any, None, WriteToken]:
        """As :meth:`result` without a time-out, for coroutines: never blocks the loop, resumes in it."""
        if not self.done():
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
    def abandon(self, error: KafkaError) -> None:
        """The publication has failed with ``error``."""

    @abstractmethod
    def problem(self) -> str:
        """The id or ids, and why they failed."""

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


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
