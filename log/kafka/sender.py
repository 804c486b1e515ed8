"""Sends records that must not be lost: one client for all small records of a process, one for each bulk sender."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from ...clock import Clock
from ...config import KafkaSection
from ...errors import VecferryError
from ...forks import Home
from ..port import Headers, OnFailure
from .clients import REQUEST_TIMEOUT_S, learn_leaders, learn_producer_id, made, own_producer_config
from .errors import contact_of, reason_of, refusal_of_record, unavailable
from .quirks import unmasked

# Above the client's default: a dead letter adds headers to a record that may already be as large as its topic allows.
# The topic's own limit decides what is too large.
_MAX_RECORD_BYTES = 16 * 1024 * 1024
# Another sender of this client may have served the last acknowledgement. No event then ends a longer wait.
_SLICE_S = 0.02
_QUEUE_KIB = 64 * 1024  # bounds the memory of the client's queue; it still holds many blocks
_BULK = {
    "linger.ms": 0,
    "queue.buffering.max.kbytes": _QUEUE_KIB,
    # ``flush`` shows that all are acknowledged, and a report of success would copy its block.
    "delivery.report.only.error": True,
}


class Sending:
    """A Producer, and whether it has its id."""

    def __init__(self, kafka: KafkaSection, settings: dict[str, Any], clock: Clock) -> None:
        self.kafka = kafka
        self.contact = contact_of(kafka)
        self.producer = made(Producer, settings)
        self.home = Home("this sender", self)
        self._clock = clock
        self._has_id = False

    def learn(self, topic: str) -> None:
        """As ``Sender.learn``; the first time it makes the client ask for its id too."""
        self.home.check()
        learn = learn_leaders if self._has_id else learn_producer_id
        try:
            learn(self.producer, topic, clock=self._clock, timeout_s=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            self.producer.poll(0)  # the cause is a report of its own
            raise unavailable(self.kafka, error) from error
        self._has_id = True

    def serve(self, timeout_s: float) -> None:
        """Serve the reports of every sender of this client; raises Unavailable once the client has stopped for good."""
        try:
            with unmasked():
                self.producer.poll(timeout_s)
        except KafkaException as error:
            raise unavailable(self.kafka, error) from error


def small_records(kafka: KafkaSection, clock: Clock) -> Sending:
    """The client that senders of small records share."""
    config = own_producer_config(kafka)
    largest = max(_MAX_RECORD_BYTES, int(config.get("message.max.bytes", 0)))
    return Sending(kafka, {**config, "linger.ms": 0, "message.max.bytes": largest}, clock)


def bulk_records(kafka: KafkaSection, clock: Clock) -> Sending:
    """A client for one bulk sender."""
    return Sending(kafka, {**_BULK, **own_producer_config(kafka)}, clock)


class KafkaSender:
    """A Sender that shares its client with others: each counts its own records."""

    def __init__(self, sending: Sending, clock: Clock) -> None:
        self._sending = sending
        self._producer = sending.producer
        self._clock = clock
        self._lock = threading.Lock()
        self._outstanding = 0
        self._failed: list[tuple[OnFailure | None, VecferryError]] = []

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        on_failure: OnFailure | None = None,
    ) -> bool:
        self._sending.home.check()
        with self._lock:
            self._outstanding += 1
        report = partial(self._reported, topic, on_failure)
        try:
            self._producer.produce(
                topic, value, key, partition=partition, headers=list(headers) or None, on_delivery=report
            )
        except BufferError:
            self._count_down()
            self.serve()
            return False
        except KafkaException as error:
            report(reason_of(error), None)
        self.serve()
        return True

    def learn(self, topic: str) -> None:
        self._sending.learn(topic)

    def serve(self, timeout_s: float = 0.0) -> None:
        self._sending.home.check()
        self._sending.serve(timeout_s)
        self._hand_over()

    def flush(self, timeout_s: float) -> int:
        self._sending.home.check()
        deadline_s = self._clock.monotonic_s() + timeout_s
        while self._outstanding:
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                break
            self._sending.serve(min(left_s, _SLICE_S))
        self._hand_over()
        return self._outstanding

    def _reported(self, topic: str, on_failure: OnFailure | None, error: KafkaError | None, _message: object) -> None:
        """Called by whichever sender of the client serves; what failed waits until this one does."""
        if error is None:
            self._sending.contact.answered()
        else:
            self._failed.append((on_failure, refusal_of_record(self._sending.kafka, topic, error)))
        self._count_down()

    def _count_down(self) -> None:
        with self._lock:
            self._outstanding -= 1

    def _hand_over(self) -> None:
        while self._failed:
            on_failure, error = self._failed.pop(0)
            if on_failure is not None:
                on_failure(error)


class BulkSender(KafkaSender):
    """A Sender with a client of its own, which reports failures only. Records in the client's queue are outstanding."""

    def flush(self, timeout_s: float) -> int:
        self._sending.home.check()
        try:
            with unmasked():
                left = self._producer.flush(timeout_s)
        except KafkaException as error:
            raise unavailable(self._sending.kafka, error) from error
        self._hand_over()
        return left
