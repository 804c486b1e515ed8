"""Publishes how far a store has applied. Published progress is never ahead of the store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from ..clock import Clock
from ..journal.progress import (
    LiveProgress,
    SnapshotProgress,
    WorkerProgress,
    live_progress_key,
    snapshot_progress_key,
    worker_progress_key,
)
from ..log.port import Sender
from ..schemas.batch import Mark, SnapshotMark
from ..schemas.topics import progress_topic
from .partition import Owned, Partition


class ProgressPublisher:
    """Publishes for the live partitions in ``owned``; thread-safe. Never blocks: a lost record is sent again."""

    def __init__(
        self, sender: Sender, namespace: str, live_topic: str, key: tuple[str, str, str], owned: Owned, clock: Clock
    ) -> None:
        """``key``: the collection, the store, and the name of this worker."""
        self._sender = sender
        self._topic = progress_topic(namespace)
        self._live_topic = live_topic
        self._collection, self._store, self._instance = key
        self._owned = owned
        self._clock = clock
        self._lock = threading.Lock()

    def applied(self, marks: Iterable[Mark]) -> None:
        """Publish marks that the store has recorded, except of live partitions that now have another owner."""
        with self._lock:
            for mark in marks:
                live = self._owned.get((self._live_topic, mark.partition))
                if isinstance(mark, SnapshotMark):
                    self._send_snapshot(mark.run, mark.partition, mark.next_chunk, closed=mark.closed)
                    if live is None or not mark.closed:
                        continue
                    live.complete = True
                elif live is None:
                    continue
                else:  # redelivered events bring marks that the store has long passed
                    live.applied = max(live.applied, mark.next_offset)
                self._send_live(live)
        self._sender.serve()

    def problem(self, run: str, partition: int, next_chunk: int, problem: str) -> None:
        """Publish that a partition of ``run`` can never be closed in this store."""
        self._send_snapshot(run, partition, next_chunk, closed=False, problem=problem)
        self._sender.serve()

    def beyond(self, applied: Mapping[int, int]) -> None:
        """Publish what the store has applied beyond the end of the live topic, although nothing of it is read."""
        with self._lock:
            for partition, next_offset in applied.items():
                place = (self._live_topic, partition)
                self._send_live(Partition(place=place, next_offset=0, handled_below=0, applied=next_offset))
        self._sender.serve()

    def beat(self, worker: WorkerProgress | None) -> None:
        """Publish everything again, so that a reader sees the worker alive."""
        with self._lock:
            for partition in list(self._owned.values()):
                if partition.run is None:
                    self._send_live(partition)
            if worker is not None:
                self._send(worker_progress_key(self._collection, self._store, self._instance), worker.encode())
        self._sender.serve()

    def flush(self, timeout_s: float) -> None:
        """Block until Kafka has everything, at most ``timeout_s``."""
        self._sender.flush(timeout_s)

    def _send_live(self, partition: Partition) -> None:
        record = LiveProgress(
            next_offset=partition.applied,
            complete=partition.complete,
            beat_unix_s=self._clock.unix_s(),
            clean_from=partition.clean_from,
        )
        self._send(live_progress_key(self._collection, self._store, partition.place[1]), record.encode())

    def _send_snapshot(self, run: str, partition: int, next_chunk: int, *, closed: bool, problem: str = "") -> None:
        record = SnapshotProgress(next_chunk=next_chunk, closed=closed, problem=problem)
        self._send(snapshot_progress_key(self._collection, self._store, run, partition), record.encode())

    def _send(self, key: str, value: bytes) -> None:
        # A full queue means that Kafka is away and older progress waits; the next beat sends it again.
        self._sender.send(self._topic, 0, value, key=key.encode())
