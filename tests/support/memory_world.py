"""A collection on a log in memory, with a clock that moves when somebody sleeps: no server, no thread, no waiting."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from log_world import DIMENSION, NAME, PARTITIONS, chunk_values, config_for, marker_value, run_record
from memory_store import MemoryStore
from step_clock import StepClock
from vecferry.consumers.worker import CollectionWorker
from vecferry.executor import Executor
from vecferry.journal.run import run_key
from vecferry.log.memory import Broker, MemoryLog
from vecferry.log.port import Log
from vecferry.schemas.batch import Rows
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.snapshot import RUN_CLOSED
from vecferry.schemas.topics import (
    control_topic,
    dlq_topic,
    events_topic,
    group_id,
    progress_topic,
    snapshot_topic,
)


class MemoryWorld:
    """Topics, a group for store "new" and the configuration of one collection.

    With ``enrolled=False`` neither topics nor group are made. ``sections`` of the configuration: as in ``config_for``.
    """

    def __init__(
        self,
        *,
        worker: Mapping[str, object] | None = None,
        sections: Mapping[str, object] | None = None,
        enrolled: bool = True,
    ) -> None:
        self.namespace = "memory"
        self.config = config_for("memory", self.namespace, worker=worker, sections=sections)
        self.collection = self.config.collection(NAME)
        self.topic = events_topic(self.namespace, NAME)
        self.group = group_id(self.namespace, NAME, "new")
        self.clock = StepClock(1_000.0)
        self.broker = Broker()
        self.log = MemoryLog(self.broker, self.clock)
        if enrolled:
            self._make()
        self._news = (0, 0)
        self._encoder = EventEncoder(self.collection)

    def _make(self) -> None:
        self.broker.create_topic(self.topic, PARTITIONS, {})
        for topic in (control_topic(self.namespace), progress_topic(self.namespace), dlq_topic(self.namespace, NAME)):
            self.broker.create_topic(topic, 1, {})
        self.log.admin.commit(self.group, self.topic, dict.fromkeys(range(PARTITIONS), 0))

    def upsert(self, id_: str, value: float) -> int:
        """Publish a row with ``value`` in every component; returns its offset."""
        key = id_.encode()
        vector = np.full(DIMENSION, value, np.float32)
        return self._append(key, self._encoder.upsert(key, vector, b"{}", event_id=bytes(16), occurred_at_ms=1))

    def delete(self, id_: str) -> int:
        """Publish a delete; returns its offset."""
        key = id_.encode()
        return self._append(key, self._encoder.delete(key, event_id=bytes(16), occurred_at_ms=1))

    def junk(self, id_: str) -> int:
        """Publish bytes that are no event; returns their offset."""
        return self._append(id_.encode(), b"\x00junk")

    def open_run(self, run: str, chunks: int) -> None:
        """Open ``run`` into store "new" and make its topic."""
        self.broker.create_topic(snapshot_topic(self.namespace, NAME, run), PARTITIONS, {})
        self.log.writer(self.namespace, NAME).write({run_key(NAME, run): run_record(run, chunks)})

    def send_chunk(self, run: str, chunk: int, rows: Rows, chunks: int) -> None:
        """Send a chunk as a mover does: blocks, then a marker in every partition."""
        self._produce(chunk_values(self.collection, run, chunk, rows, chunks), run)

    def close_run(self, run: str, chunks: int) -> None:
        """Send the closing markers."""
        self._produce([(p, marker_value(run, RUN_CLOSED, 0, 0, chunks)) for p in range(PARTITIONS)], run)

    def _produce(self, values: list[tuple[int, bytes]], run: str) -> None:
        for partition, value in values:
            self.broker.append((snapshot_topic(self.namespace, NAME, run), partition), None, value)

    def sync_tables(self) -> None:
        """Let every process learn what is in the tables by now."""
        news = (len(self.log.tables), self.broker.partition((control_topic(self.namespace), 0)).end)
        if news != self._news:
            self._news = news
            for table in self.log.tables:
                table.catch_up()

    def _append(self, key: bytes, value: bytes) -> int:
        return self.broker.append((self.topic, partition_of(key.decode())), key, value)

    def store(self) -> MemoryStore:
        """An empty, prepared store."""
        store = MemoryStore(self.collection)
        store.create(complete=False)
        return store

    def worker(
        self,
        store: MemoryStore,
        executor: Executor,
        *,
        name: str = "new",
        instance: str = "one",
        log: Log | None = None,
    ) -> CollectionWorker:
        """A worker that feeds ``store`` as the store called ``name``."""
        log = log or self.log
        control = log.table(control_topic(self.namespace))
        control.sync()
        return CollectionWorker(self.config, NAME, name, store, log, control, self.clock, instance, executor)

    def committed(self, store: str = "new") -> dict[int, int]:
        """What the group of ``store`` has committed."""
        return self.log.admin.committed(group_id(self.namespace, NAME, store), self.topic, PARTITIONS)


@cache
def partition_of(id_: str) -> int:
    """The partition of ``id_``."""
    return int(partitions_of([id_], PARTITIONS)[0])
