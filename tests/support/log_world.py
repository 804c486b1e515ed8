"""A collection on a real Kafka, with what a worker needs, and shorthands to write to its topics."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Producer
from memory_store import MemoryStore
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import Config, load_config
from vecferry.consumers.worker import CollectionWorker
from vecferry.journal.run import RunRecord, run_key
from vecferry.log.kafka.clients import producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.port import Log
from vecferry.log.topics import COMPACTED_TOPIC, LIVE_TOPIC
from vecferry.schemas.batch import Rows
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.snapshot import (
    RUN_CLOSED,
    SnapshotMarker,
    add_digests,
    encode_snapshot_blocks,
    encode_snapshot_marker,
)
from vecferry.schemas.topics import (
    control_topic,
    dlq_topic,
    events_topic,
    group_id,
    progress_topic,
    snapshot_topic,
)
from waiting import wait_until

NAME = "things"
DIMENSION = 4
PARTITIONS = 3


@dataclass(slots=True)
class Running:
    """A worker in a thread; ``error`` is what its ``run`` raised."""

    worker: CollectionWorker
    thread: threading.Thread
    error: BaseException | None = None

    def stop(self) -> None:
        """Stop and wait; raises what the worker raised."""
        self.worker.stop()
        self.join()

    def wait_until(self, predicate: Callable[[], object], timeout_s: float = 90.0) -> None:
        """Wait for ``predicate``, or raise what the worker raised meanwhile."""
        wait_until(lambda: self.error is not None or predicate(), timeout_s)
        if self.error is not None:
            raise self.error

    def join(self) -> None:
        """Wait for the end; raises what the worker raised."""
        self.thread.join(60)
        assert not self.thread.is_alive(), "the worker does not end"
        if self.error is not None:
            raise self.error


def config_for(
    bootstrap: str,
    namespace: str,
    *,
    worker: Mapping[str, object] | None = None,
    client: Mapping[str, object] | None = None,
    sections: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of one collection that lies in two stores, with further ``sections``."""
    return load_config(
        {
            "namespace": namespace,
            "kafka": {"bootstrap_servers": bootstrap, "client": {"session.timeout.ms": 6000, **(client or {})}},
            "stores": {"old": {"kind": "pgvector", "url": "unused"}, "new": {"kind": "lancedb", "uri": "unused"}},
            "collections": {
                NAME: {
                    "dimension": DIMENSION,
                    "metric": "l2",
                    "space": {"model": "m", "version": "1"},
                    "partitions": PARTITIONS,
                    "in": {"old": {"table": "t"}, "new": {"table": "t"}},
                }
            },
            "worker": dict(worker or {}),
            **(sections or {}),
        }
    )


class World:
    """Topics, group and configuration of one collection under a namespace of its own."""

    def __init__(
        self,
        bootstrap: str,
        *,
        worker: Mapping[str, object] | None = None,
        client: Mapping[str, object] | None = None,
        commit: bool = True,
    ) -> None:
        self.namespace = "t" + uuid.uuid4().hex[:8]
        self.config = config_for(bootstrap, self.namespace, worker=worker, client=client)
        self.collection: Collection = self.config.collection(NAME)
        self.topic = events_topic(self.namespace, NAME)
        self.group = group_id(self.namespace, NAME, "new")
        self.log = KafkaLog(self.config.kafka)
        self.admin = self.log.admin
        self.admin.create_topic(self.topic, PARTITIONS, LIVE_TOPIC)
        for topic in (control_topic(self.namespace), progress_topic(self.namespace), dlq_topic(self.namespace, NAME)):
            self.admin.create_topic(topic, 1, COMPACTED_TOPIC)
        if commit:
            self.admin.commit(self.group, self.topic, dict.fromkeys(range(PARTITIONS), 0))
        self._encoder = EventEncoder(self.collection)
        self.producer = Producer(producer_config(self.config.kafka))
        self.control = self.log.table(control_topic(self.namespace))
        self.progress = self.log.table(progress_topic(self.namespace))
        self.dead_letters = self.log.table(dlq_topic(self.namespace, NAME))
        for table in (self.control, self.progress, self.dead_letters):
            table.sync()

    def close(self) -> None:
        for view in (self.control, self.progress, self.dead_letters):
            view.close()
        self.log.close()

    def store(self, **arguments: object) -> MemoryStore:
        """An empty, prepared store."""
        store = MemoryStore(self.collection, **arguments)  # type: ignore[arg-type]
        store.create(complete=False)
        return store

    def upsert(self, id_: str, value: float, metadata: bytes = b"{}") -> None:
        vector = np.full(DIMENSION, value, np.float32)
        key = id_.encode()
        record = self._encoder.upsert(key, vector, metadata, event_id=bytes(16), occurred_at_ms=1)
        self.producer.produce(self.topic, key=key, value=record)

    def delete(self, id_: str) -> None:
        key = id_.encode()
        self.producer.produce(
            self.topic, key=key, value=self._encoder.delete(key, event_id=bytes(16), occurred_at_ms=1)
        )

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def worker(self, store: MemoryStore, instance: str = "one", log: Log | None = None) -> CollectionWorker:
        """A worker for store "new", which reads through ``log``."""
        log = log or self.log
        return CollectionWorker(self.config, NAME, "new", store, log, self.control, SYSTEM_CLOCK, instance)

    def start(self, store: MemoryStore, instance: str = "one", log: Log | None = None) -> Running:
        """Run a worker for store "new" in a thread."""
        worker = self.worker(store, instance, log)
        running = Running(worker=worker, thread=threading.Thread(target=lambda: None))

        def work() -> None:
            try:
                worker.run()
            except BaseException as error:  # noqa: BLE001  handed to the test
                running.error = error

        running.thread = threading.Thread(target=work, daemon=True)
        running.thread.start()
        return running

    def run_record(self, run: str, chunks: int) -> None:
        """Open ``run`` for store "new" and make its topic."""
        self.admin.create_topic(snapshot_topic(self.namespace, NAME, run), PARTITIONS, LIVE_TOPIC)
        self.log.writer(self.namespace, NAME).write({run_key(NAME, run): run_record(run, chunks)})

    def send_chunk(self, run: str, chunk: int, rows: Rows, *, chunks: int, generation: int = 1) -> None:
        """Produce a chunk as a mover does: blocks, then a marker in every partition."""
        topic = snapshot_topic(self.namespace, NAME, run)
        for partition, value in chunk_values(self.collection, run, chunk, rows, chunks, generation):
            self.producer.produce(topic, value=value, partition=partition)

    def close_run(self, run: str, *, chunks: int, generation: int = 1) -> None:
        topic = snapshot_topic(self.namespace, NAME, run)
        for partition in range(PARTITIONS):
            value = marker_value(run, RUN_CLOSED, 0, 0, chunks, generation)
            self.producer.produce(topic, value=value, partition=partition)
        self.flush()


def run_record(run: str, chunks: int) -> RunRecord:
    """An open run into store "new"."""
    return RunRecord(
        run=run,
        source="old",
        targets=("new",),
        state="copying",
        epoch=1,
        partitions=PARTITIONS,
        chunks=chunks,
        chunk_rows=10,
        estimated_rows=10,
        generation=1,
        created_unix_s=0.0,
    )


def chunk_values(
    collection: Collection, run: str, chunk: int, rows: Rows, chunks: int, generation: int = 1
) -> list[tuple[int, bytes]]:
    """What a mover sends of a chunk, with its partition: blocks, then a marker in every partition."""
    homes = partitions_of(rows.ids, PARTITIONS)
    values = []
    for partition in range(PARTITIONS):
        mine = np.flatnonzero(homes == partition)
        part = Rows(
            ids=[rows.ids[i] for i in mine],
            positions=rows.positions[mine],
            deleted=rows.deleted[mine],
            vectors=rows.vectors[mine],
            metadata=[rows.metadata[i] for i in mine],
        )
        digest = 0
        for block in encode_snapshot_blocks(collection, run=run, chunk=chunk, generation=generation, rows=part):
            values.append((partition, block.value))
            digest = add_digests(digest, block.digest)
        values.append((partition, marker_value(run, chunk, len(mine), digest, chunks, generation)))
    return values


def marker_value(run: str, chunk: int, rows: int, digest: int, chunks: int, generation: int = 1) -> bytes:
    """The bytes of a marker."""
    return encode_snapshot_marker(
        SnapshotMarker(run=run, chunk=chunk, generation=generation, rows=rows, digest=digest, chunks=chunks)
    )


@contextmanager
def world(bootstrap: str, **arguments: object) -> Iterator[World]:
    """A World, closed at the end."""
    made = World(bootstrap, **arguments)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
