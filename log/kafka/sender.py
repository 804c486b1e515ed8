"""Sending records that nobody may lose, as the port describes it."""

from __future__ import annotations

import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from ...clock import Clock
from ...config import KafkaSection
from ...errors import VecferryError
from ..port import Headers, OnFailure, TooLarge
from .clients import REQUEST_TIMEOUT_S, learn_leaders, learn_producer_id, unavailable

_SERVE_S = 0.1


class KafkaSender:
    """See :class:`~vecferry.log.port.Sender`. Several may share one ``producer``: each counts its own records."""

    def __init__(self, producer: Producer, kafka: KafkaSection, clock: Clock) -> None:
        self._producer = producer
        self._kafka = kafka
        self._clock = clock
        self._lock = threading.Lock()
        self._pending = 0
        self._connected = False

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
        def delivered(error: KafkaError | None, _message: Any) -> None:
            with self._lock:
                self._pending -= 1
            if error is not None and on_failure is not None:
                on_failure(self._explain(topic, error))

        with self._lock:
            self._pending += 1
        try:
            self._producer.produce(
                topic, partition=partition, key=key, value=value, headers=list(headers), on_delivery=delivered
            )
        except BufferError:
            with self._lock:
                self._pending -= 1
            return False
        except KafkaException as error:
            delivered(error.args[0], None)
        return True

    def learn(self, topic: str) -> None:
        learn = learn_leaders if self._connected else learn_producer_id
        try:
            learn(self._producer, topic, clock=self._clock, timeout_s=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
        self._connected = True

    def serve(self, timeout_s: float = 0.0) -> None:
        self._producer.poll(timeout_s)

    def flush(self, timeout_s: float) -> int:
        until_s = self._clock.monotonic_s() + timeout_s
        while self._pending and (left_s := until_s - self._clock.monotonic_s()) > 0:
            self._producer.poll(min(left_s, _SERVE_S))
        return self._pending

    def _explain(self, topic: str, error: KafkaError) -> VecferryError:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TooLarge(f"topic {topic} does not take a record of this size")
        return unavailable(self._kafka, error)
