"""Kafka as a Log: the clients of one process, made when they are first needed."""

from __future__ import annotations

import threading

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ...errors import Unavailable
from ...forks import Home
from ..port import Message, OnCommit
from .admin import Admin
from .consumer import KafkaConsumer
from .control import ControlWriter
from .following import Following
from .newest import read_newest
from .sender import BulkSender, KafkaSender, Sending, bulk_records, small_records
from .tables import KafkaTable, Tables


class KafkaLog:
    """See ``port.Log``. At most one client for administration, one that reads, and one for small records."""

    def __init__(self, kafka: KafkaSection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._clock = clock
        self._lock = threading.Lock()
        self._admin: Admin | None = None
        self._small: Sending | None = None
        self._following = Following(kafka)
        self._tables = Tables(self._following, lambda: self.admin, clock)
        self._closed = False
        self._home = Home("this log", self)

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return self._kafka.bootstrap_servers

    @property
    def admin(self) -> Admin:
        """The one client for administration."""
        self._home.check()
        with self._lock:
            self._refuse_closed()
            if self._admin is None:
                self._admin = Admin(self._kafka, clock=self._clock)
            return self._admin

    def table(self, topic: str) -> KafkaTable:
        self._home.check()
        return self._tables.open(topic)

    def newest(self, topic: str, partitions: int, per_partition: int) -> list[Message]:
        return read_newest(self._following, topic, self.admin.offsets(topic, partitions), per_partition)

    def writer(self, namespace: str, collection: str) -> ControlWriter:
        self._refuse_closed()
        return ControlWriter(self._kafka, namespace, collection, clock=self._clock)

    def sender(self, *, bulk: bool = False) -> KafkaSender:
        self._home.check()
        with self._lock:
            self._refuse_closed()
            if bulk:
                return BulkSender(bulk_records(self._kafka, self._clock), self._clock)
            if self._small is None:
                self._small = small_records(self._kafka, self._clock)
            return KafkaSender(self._small, self._clock)

    def consumer(self, group: str, on_commit: OnCommit) -> KafkaConsumer:
        self._refuse_closed()
        return KafkaConsumer(self._kafka, group, on_commit, self._clock)

    def close(self) -> None:
        if self._home.left:
            return
        with self._lock:
            self._closed = True
            self._admin = None
            self._small = None
        self._following.close()

    def _refuse_closed(self) -> None:
        self._home.check()
        if self._closed:
            raise Unavailable("this log is closed; open another one")
