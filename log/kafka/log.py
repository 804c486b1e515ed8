"""One process's way to Kafka; its clients are shared."""

from __future__ import annotations

import threading

from confluent_kafka import Producer

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ..port import OnCommit
from .admin import Admin
from .clients import own_producer_config
from .consumer import KafkaConsumer
from .control import ControlWriter
from .sender import KafkaSender
from .view import CompactedView

# A record that a broker took at its bound, 48,588 bytes above the client's default, must fit in a dead letter.
_SMALL = {"linger.ms": 0}
_LARGEST_RECORD = 16 * 1024 * 1024
_BULK = {"linger.ms": 0, "queue.buffering.max.kbytes": 64 * 1024}


class KafkaLog:
    """See :class:`~vecferry.log.port.Log`."""

    def __init__(self, kafka: KafkaSection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._clock = clock
        self._lock = threading.Lock()
        self._admin: Admin | None = None
        self._producer: Producer | None = None

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return self._kafka.bootstrap_servers

    @property
    def admin(self) -> Admin:
        """The one client for administration."""
        with self._lock:
            if self._admin is None:
                self._admin = Admin(self._kafka, clock=self._clock)
            return self._admin

    def table(self, topic: str) -> CompactedView:
        return CompactedView(self._kafka, topic, clock=self._clock)

    def writer(self, namespace: str, collection: str) -> ControlWriter:
        return ControlWriter(self._kafka, namespace, collection, clock=self._clock)

    def sender(self, *, bulk: bool = False) -> KafkaSender:
        config = own_producer_config(self._kafka)
        if bulk:
            return KafkaSender(Producer({**_BULK, **config}), self._kafka, self._clock)
        with self._lock:
            if self._producer is None:
                longest = max(_LARGEST_RECORD, int(config.get("message.max.bytes", 0)))
                self._producer = Producer({**config, **_SMALL, "message.max.bytes": longest})
            return KafkaSender(self._producer, self._kafka, self._clock)

    def consumer(self, group: str, on_commit: OnCommit) -> KafkaConsumer:
        return KafkaConsumer(self._kafka, group, on_commit, self._clock)

    def close(self) -> None:
        """Nothing that outlives its users."""
