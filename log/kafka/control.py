"""Writing the control topic: one transactional producer per collection, so that Kafka itself fences an older writer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ...errors import Refused
from ...forks import Home
from ...schemas.topics import control_topic
from ..port import Encodable
from .clients import REQUEST_TIMEOUT_S, made, own_producer_config, patiently
from .errors import reason_of, unavailable
from .quirks import unmasked

_End = Callable[[float], None]

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)


# What becomes of the other records once one has failed.
_CONSEQUENCES = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT})

# A delivery must end before its transaction does.
_TRANSACTIONAL = {"linger.ms": 0, "delivery.timeout.ms": 8_000, "transaction.timeout.ms": 10_000}


class ControlWriter:
    """Writes records of one collection atomically; thread-safe.

    Construction takes over: a writer of the same collection that exists anywhere else fails with Refused from then on.
    """

    def __init__(self, kafka: KafkaSection, namespace: str, collection: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._collection = collection
        self._topic = control_topic(namespace)
        self._lock = threading.Lock()
        self._unanswered: _End | None = None
        identity = f"{namespace}.{collection}.controller"
        settings = {**own_producer_config(kafka), **_TRANSACTIONAL, "transactional.id": identity}
        self._producer = made(Producer, settings)
        self._home = Home(f"this writer of collection {collection!r}", self)
        patiently(kafka, self._producer, lambda: self._producer.init_transactions(REQUEST_TIMEOUT_S), clock=clock)

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        """Write all of ``records`` or none (None removes a key); blocks until committed.

        Raises Refused when another writer has taken over, or when Kafka gave this one up during an outage; Unavailable
        when Kafka does not answer in time: then it may or may not be written, and the next call makes sure first.
        """
        self._home.check()
        refused: list[KafkaError] = []

        def reported(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                refused.append(error)

        with self._lock:
            try:
                self._resume()
                self._producer.begin_transaction()
                for key, record in records.items():
                    value = None if record is None else record.encode()
                    self._producer.produce(
                        self._topic, key=key.encode(), value=value, partition=0, on_delivery=reported
                    )
                self._end(self._producer.commit_transaction)
            except KafkaException as error:
                raise self._explain(error, refused) from error

    def close(self) -> None:
        """Forget the producer; what was written stays."""
        if not self._home.left:
            self._producer.flush(0)

    def _end(self, call: _End) -> None:
        """Commit or abort. After a time-out the client continues, and accepts no other call until it is done."""
        self._unanswered = call
        try:
            with unmasked():
                call(REQUEST_TIMEOUT_S)
        except KafkaException as error:
            if not error.args[0].retriable():
                self._unanswered = None
            raise
        self._unanswered = None

    def _resume(self) -> None:
        """Finish the commit or abort that an earlier write left unanswered."""
        if self._unanswered is None:
            return
        try:
            self._end(self._unanswered)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self._end(self._producer.abort_transaction)

    def _explain(self, error: KafkaException, refused: Sequence[KafkaError]) -> Exception:
        """``refused``: why the broker did not take records; the transaction says only that it failed."""
        reason = reason_of(error)
        if reason.code() in _FENCED:
            return Refused(
                f"another controller of collection {self._collection!r} has taken over; leave the work to it, or run "
                "this command again once it has ended (an outage of Kafka in the middle of a write looks the same)"
            )
        if reason.fatal():
            return Refused(
                f"Kafka was away for longer than a write of collection {self._collection!r} may take, and gave it up; "
                "run this command again"
            )
        if self._unanswered is None:
            # If the abort fails, Kafka ends the transaction after its time-out.
            with suppress(KafkaException):
                self._end(self._producer.abort_transaction)
        said = [one for one in refused if one.code() not in _CONSEQUENCES]
        return unavailable(self._kafka, said[0] if said else error)
