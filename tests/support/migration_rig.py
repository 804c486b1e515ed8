"""A migration from ``old`` to ``new`` on a real Kafka, with stores in memory and workers in threads."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from memory_store import MemoryStore
from vecferry.backfill.context import Context
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import Config, load_config
from vecferry.consumers.worker import CollectionWorker
from vecferry.journal.lease import Lease
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.clients import admin_config, producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.port import Log
from vecferry.migration.context import open_context
from vecferry.migration.enrol import enrol
from vecferry.schemas.batch import SnapshotMark
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.topics import control_topic, events_topic, progress_topic
from waiting import wait_until

NAME = "products"
DIMENSION = 4
PARTITIONS = 3
_AHEAD_S = 8.0  # a report counts for as long before its time as after it


def settings(bootstrap: str, namespace: str | None = None) -> dict[str, object]:
    """A configuration as a dict, in a namespace that no other test uses."""
    return {
        "namespace": namespace or f"m{uuid.uuid4().hex[:10]}",
        "kafka": {"bootstrap_servers": bootstrap},
        "stores": {store: {"kind": "lancedb", "uri": "unused"} for store in ("old", "new", "third")},
        "collections": {
            NAME: {
                "dimension": DIMENSION,
                "metric": "cosine",
                "space": {"model": "m", "version": "1"},
                "partitions": PARTITIONS,
                "in": {store: {"table": NAME} for store in ("old", "new", "third")},
            }
        },
        "migrations": {NAME: {"from": "old", "to": "new"}},
        "backfill": {"chunk_rows": 50},
    }


@contextmanager
def log_of(config: Config) -> Iterator[Log]:
    """A way to Kafka, closed on leaving."""
    with closing(KafkaLog(config.kafka)) as log:
        yield log


class Rig:
    """Stores by name, and shorthands to steer and to watch."""

    def __init__(self, bootstrap: str, rows: int = 0, namespace: str | None = None) -> None:
        self.config: Config = load_config(settings(bootstrap, namespace))
        self.admin = Admin(self.config.kafka)
        described = self.config.collection(NAME)
        self.stores = {name: MemoryStore(described) for name in ("old", "new", "third")}
        self.events = events_topic(self.config.namespace, NAME)
        self._encoder = EventEncoder(described)
        self._producer = Producer(producer_config(self.config.kafka))
        if rows:
            vectors = np.random.default_rng(1).standard_normal((rows, DIMENSION)).astype(np.float32)
            self.stores["old"].load([f"id-{n:05}" for n in range(rows)], vectors, [b'{"n":1}'] * rows)

    def move(self, source: str, target: str) -> None:
        """Configure another migration."""
        data = settings(self.config.kafka.bootstrap_servers, self.config.namespace)
        self.config = load_config({**data, "migrations": {NAME: {"from": source, "to": target}}})

    def enrol(self) -> None:
        """Enrol with the stores in memory."""
        with log_of(self.config) as log:
            enrol(self.config, NAME, log, open_store=self.stores.__getitem__)

    @contextmanager
    def context(self, *, checked: bool = True) -> Iterator[Context]:
        """The context of the enrolled collection."""
        with (
            log_of(self.config) as log,
            open_context(self.config, NAME, log, checked=checked, open_store=self.stores.__getitem__) as context,
        ):
            yield context

    @contextmanager
    def steering(self) -> Iterator[tuple[Context, Lease]]:
        """The context and the lease."""
        with self.context() as context, Lease(self.config, NAME, context.control, context.log, command="test") as lease:
            yield context, lease

    def upsert(self, id_: str, value: float) -> None:
        """Publish one event and wait until Kafka has it."""
        vector = np.full(DIMENSION, value, np.float32)
        key = id_.encode()
        event = self._encoder.upsert(key, vector, b"{}", event_id=uuid.uuid4().bytes, occurred_at_ms=0)
        self.produce(self.events, key, event)

    def produce(self, topic: str, key: bytes, value: bytes | None, partition: int = -1) -> None:
        """Write one record and wait until Kafka has it."""
        self._producer.produce(topic, key=key, value=value, partition=partition)
        assert self._producer.flush(30) == 0

    def report(self, store: str, next_offsets: Mapping[int, int], *, complete: bool = True) -> None:
        """Report progress as a worker of ``store`` would; by a clock that is ahead, for a gate to be read later."""
        topic = progress_topic(self.config.namespace)
        for partition, offset in next_offsets.items():
            record = LiveProgress(next_offset=offset, complete=complete, beat_unix_s=SYSTEM_CLOCK.unix_s() + _AHEAD_S)
            self.produce(topic, live_progress_key(NAME, store, partition).encode(), record.encode(), 0)

    def hold_run(self, run: str) -> None:
        """Let the store new have applied ``run`` to its end."""
        store = self.stores["new"]
        store.create(complete=False)
        for partition in range(PARTITIONS):
            mark = SnapshotMark(run=run, partition=partition, next_offset=9, next_chunk=1, closed=True)
            store.snapshots[run, partition] = mark
            store.complete.add(partition)

    @contextmanager
    def worker(self, store: str) -> Iterator[None]:
        """A running worker of ``store``."""
        log = KafkaLog(self.config.kafka)
        view = log.table(control_topic(self.config.namespace))
        view.sync()
        worker = CollectionWorker(
            self.config, NAME, store, self.stores[store], log, view, SYSTEM_CLOCK, f"{store}-worker"
        )
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join()
            view.close()
            log.close()

    def raise_partitions(self, partitions: int) -> None:
        """What an operator must never do: give the live topic more partitions."""
        client = AdminClient(admin_config(self.config.kafka))
        client.create_partitions([NewPartitions(self.events, partitions)])[self.events].result()
        wait_until(lambda: self.admin.topics([self.events])[self.events].partitions == partitions)
