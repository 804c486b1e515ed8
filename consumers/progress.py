"""Publishing how far a store has applied. What is published is never ahead of the store."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from confluent_kafka import Producer

from ..clock import Clock
from ..config import KafkaSection
from ..log.kafka.clients import own_producer_config
from ..schemas.batch import LiveMark, Mark
from ..schemas.control import (
    LiveProgress,
    SnapshotProgress,
    WorkerProgress,
    live_progress_key,
    snapshot_progress_key,
    worker_progress_key,
)
from ..schemas.topics import progress_topic


class ProgressPublisher:
    """Publishes for one collection in one store; thread-safe. Never blocks for long: a lost record is sent again."""

    def __init__(
        self, kafka: KafkaSection, namespace: str, collection: str, store: str, instance: str, clock: Clock
    ) -> None:
        self._topic = progress_topic(namespace)
        self._collection = collection
        self._store = store
        self._instance = instance
        self._clock = clock
        self._lock = threading.Lock()
        self._applied: dict[int, int] = {}
        self._complete: set[int] = set()
        self._producer = Producer({**own_producer_config(kafka), "linger.ms": 0})

    def own(self, applied: dict[int, int], complete: set[int]) -> None:
        """Start to speak for these live partitions."""
        with self._lock:
            self._applied |= applied
            self._complete |= complete
        self.beat(None)

    def disown(self, partitions: set[int]) -> None:
        """Stop to speak for these live partitions: their next owner does."""
        with self._lock:
            for partition in partitions:
                self._applied.pop(partition, None)

    def applied(self, marks: Sequence[Mark]) -> None:
        """Publish marks that the store has taken."""
        with self._lock:
            for mark in marks:
                if isinstance(mark, LiveMark):
                    if mark.partition in self._applied:
                        # Redelivered events bring marks that the store has long passed.
                        self._applied[mark.partition] = max(self._applied[mark.partition], mark.next_offset)
                        self._send_live(mark.partition)
                    continue
                self._queue(
                    snapshot_progress_key(self._collection, self._store, mark.run, mark.partition),
                    SnapshotProgress(next_chunk=mark.next_chunk, closed=mark.closed),
                )
                if mark.closed:
                    self._complete.add(mark.partition)
                    if mark.partition in self._applied:
                        self._send_live(mark.partition)
        self._producer.poll(0)

    def problem(self, run: str, partition: int, next_chunk: int, problem: str) -> None:
        """Publish that a partition of ``run`` can never be closed in this store."""
        key = snapshot_progress_key(self._collection, self._store, run, partition)
        self._queue(key, SnapshotProgress(next_chunk=next_chunk, closed=False, problem=problem))
        self._producer.poll(0)

    def beat(self, worker: WorkerProgress | None) -> None:
        """Publish everything again, so that a reader sees the worker alive."""
        with self._lock:
            for partition in self._applied:
                self._send_live(partition)
            if worker is not None:
                self._queue(worker_progress_key(self._collection, self._store, self._instance), worker)
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> None:
        """Block until Kafka has everything, at most ``timeout_s``."""
        self._producer.flush(timeout_s)

    def _queue(self, key: str, record: LiveProgress | SnapshotProgress | WorkerProgress) -> None:
        # A full queue means that Kafka is away and older progress waits; the next beat says it again.
        with contextlib.suppress(BufferError):
            self._producer.produce(self._topic, partition=0, key=key.encode(), value=record.encode())

    def _send_live(self, partition: int) -> None:
        self._queue(
            live_progress_key(self._collection, self._store, partition),
            LiveProgress(
                next_offset=self._applied[partition],
                complete=partition in self._complete,
                beat_unix_s=self._clock.unix_s(),
            ),
        )
