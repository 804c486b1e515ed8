"""What a publishing call returns: something to wait for, from a thread or from a coroutine."""

from __future__ import annotations

from confluent_kafka import KafkaError

from ..errors import NotDelivered
from ..schemas.position import encode_position
from ..schemas.tokens import WriteToken
from .acks import Ack, BatchAck
from .outstanding import Outstanding

_MAX_NAMED = 10
_REMEDY = "publish again what was not published anew since"


class Delivery(Ack, Outstanding):
    """One published write; its result is the :class:`WriteToken` of the record. Wait for it or await it."""

    __slots__ = ()

    def withdraw(self) -> None:
        """Nobody holds this delivery; a flush that meanwhile waits for it goes on."""
        self._finish()

    def report(self, error: KafkaError | None, partition: int | None, offset: int | None, key: bytes | None) -> None:
        """Called once with what became of the record."""
        self._error = self._book.misplaced(partition, offset) if error is None else error
        if self._error is not None:
            self._book.fail(self)  # before anybody is woken, who would ask for the result
        elif partition is not None and offset is not None:
            self._partition, self._offset = partition, offset
        self._finish()

    def settle(self) -> None:
        """Wake who waits: where it lies is known."""
        self._wake()

    def abandon(self, error: KafkaError) -> None:
        """It failed with ``error``."""
        self.report(error, None, None, None)

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


class BatchDelivery(BatchAck, Outstanding):
    """A published batch; its result is one :class:`WriteToken` for all its records. Wait for it or await it."""

    __slots__ = ("_errors",)

    def __init__(self, *_: object) -> None:  # the rest was made by the other base
        self._errors: list[str] = []

    def withdraw(self) -> None:
        """The records that were taken before are still awaited: :meth:`seal` has the last word."""

    def seal(self) -> None:
        """Called once by the publisher: no more records will come than those that the client has ``taken``."""
        self._sent = self.taken
        if self._acknowledged == self._sent:
            self._complete()

    def report(self, error: KafkaError | None, partition: int | None, offset: int | None, key: bytes | None) -> None:
        """Called once for each record with what became of it."""
        # Of every one: a single misplaced record stops the publisher.
        cause = self._book.misplaced(partition, offset) if error is None else error
        if cause is not None:
            self._failures += 1
            if len(self._errors) < _MAX_NAMED:
                self._errors.append(f"{(key or b'').decode()!r}: {describe(cause)}")
        elif partition is not None and offset is not None:
            self._offsets[partition] = max(offset, self._offsets.get(partition, offset))
        self._acknowledged += 1
        if self._acknowledged == self._sent:
            self._complete()

    def settle(self) -> None:
        """All that were sent have their result."""
        self._complete()
        self._wake()

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
        return f"the batch of {self._sent} that starts with {self.first_id!r}"

    def _complete(self) -> None:
        if not self._done:
            if self._failures:
                self._book.fail(self)  # before anybody is woken, who would ask for the result
            self._finish()

    def _outcome(self) -> WriteToken:
        if self._failures:
            self._book.failed.pop(self, None)
            raise NotDelivered(f"Kafka did not acknowledge {self.problem()}; {_REMEDY}")
        epoch = self._book.epoch
        return WriteToken(self._book.topic, {p: encode_position(epoch, at) for p, at in self._offsets.items()})


def describe(error: KafkaError | None) -> str:
    """Kafka's reason, by name and in words."""
    return "" if error is None else f"{error.name()} ({error.str()})"
