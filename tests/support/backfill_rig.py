"""A collection in a Kafka of its own namespace, with what a run works with: topics, tables, a writer, a source.

``python backfill_rig.py BOOTSTRAP NAMESPACE ROWS`` opens or takes up a run and copies it, for tests that kill it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from memory_store import MemoryStore
from vecferry.backfill.context import Mover, make_context, table_topics
from vecferry.backfill.copying import copy_run
from vecferry.backfill.groups import begin_group
from vecferry.backfill.runs import open_run
from vecferry.config import Config, load_config
from vecferry.consumers.tally import Tally, close_chunk, count_block
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.clients import consumer_config, producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.topics import COMPACTED_TOPIC, LIVE_TOPIC
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.snapshot import SnapshotBlock, SnapshotDecoder
from vecferry.schemas.topics import events_topic, snapshot_topic

COLLECTION = "products"
PARTITIONS = 3
DIMENSION = 8
CHUNK_ROWS = 200


def new_namespace() -> str:
    """One that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


def make_config(bootstrap: str, namespace: str, **backfill: object) -> Config:
    """One collection in the stores old, new and third."""
    stores = ("old", "new", "third")
    return load_config(
        {
            "namespace": namespace,
            "kafka": {"bootstrap_servers": bootstrap},
            "stores": {store: {"kind": "lancedb", "uri": "unused"} for store in stores},
            "collections": {
                COLLECTION: {
                    "dimension": DIMENSION,
                    "metric": "cosine",
                    "space": {"model": "m", "version": "1"},
                    "partitions": PARTITIONS,
                    "in": {store: {"table": COLLECTION} for store in stores},
                }
            },
            "migrations": {COLLECTION: {"from": "old", "to": "new"}},
            "backfill": {"chunk_rows": CHUNK_ROWS, **backfill},
        }
    )


def loaded_store(config: Config, rows: int) -> MemoryStore:
    """A complete source with ``rows`` rows that predate the pipeline; the same rows each time."""
    store = MemoryStore(config.collection(COLLECTION))
    store.create(complete=True)
    ids = [f"id-{number:05}" for number in range(rows)]
    vectors = np.random.default_rng(7).standard_normal((rows, DIMENSION)).astype(np.float32)
    store.load(ids, vectors, [f'{{"number":{number}}}'.encode() for number in range(rows)])
    return store


@contextmanager
def mover_of(config: Config, source: MemoryStore) -> Iterator[Mover]:
    """A mover on topics that are made if they are missing."""
    with closing(KafkaLog(config.kafka)) as log:
        log.admin.create_topic(events_topic(config.namespace, COLLECTION), PARTITIONS, LIVE_TOPIC)
        for topic in table_topics(config.namespace, COLLECTION):
            log.admin.create_topic(topic, 1, COMPACTED_TOPIC)
        with (
            make_context(config, COLLECTION, log) as context,
            closing(log.writer(config.namespace, COLLECTION)) as writer,
        ):
            yield Mover(context=context, source=source, writer=writer, sender=log.sender(bulk=True))


def begin(mover: Mover, store_name: str, offsets: tuple[int, ...] = (0,) * PARTITIONS) -> MemoryStore:
    """A new store whose group begins at ``offsets``."""
    store = MemoryStore(mover.context.collection)
    store.create(complete=False)
    begin_group(mover.context, mover.writer, store_name, store, offsets)
    return store


def produce(config: Config, topic: str, records: Mapping[str, bytes | None], partition: int | None = None) -> None:
    """Write ``records`` and wait until Kafka has them."""
    producer = Producer(producer_config(config.kafka))
    for key, value in records.items():
        if partition is None:
            producer.produce(topic, key=key, value=value)
        else:
            producer.produce(topic, key=key, value=value, partition=partition)
    assert producer.flush(30) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What a consumer of a snapshot topic ends with: a tally per partition, and every row that was in the topic."""

    tallies: dict[int, Tally]
    rows: dict[str, tuple[int, bytes, bytes]]  # id -> position, vector bytes, metadata
    blocks: int


def read_snapshot(config: Config, run: str) -> Arrived:
    """Read a snapshot topic to its end, with the tally that the worker keeps."""
    topic = snapshot_topic(config.namespace, COLLECTION, run)
    ends = Admin(config.kafka).end_offsets(topic, PARTITIONS)
    decoder = SnapshotDecoder(config.collection(COLLECTION))
    tallies = {partition: Tally() for partition in range(PARTITIONS)}
    arrived = Arrived(tallies=tallies, rows={}, blocks=0)
    consumer = Consumer(consumer_config(config.kafka, "test"))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    blocks = 0
    for _ in range(sum(ends)):
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None, message.error()
        partition = message.partition()
        found = decoder.decode(message.value(), partition)
        if isinstance(found, SnapshotBlock):
            blocks += 1
            _keep(arrived, found, partition)
            tallies[partition] = count_block(tallies[partition], found)
        else:
            tallies[partition], _ = close_chunk(tallies[partition], found)
    consumer.close()
    return Arrived(tallies=tallies, rows=arrived.rows, blocks=blocks)


def _keep(arrived: Arrived, block: SnapshotBlock, partition: int) -> None:
    events = block.events
    assert (partitions_of(events.ids, PARTITIONS) == partition).all()
    for row, id_ in enumerate(events.ids):
        arrived.rows[id_] = (int(events.positions[row]), events.vectors[row].tobytes(), events.metadata[row])


def main(bootstrap: str, namespace: str, rows: str) -> None:
    """Copy, as a process that a test may kill."""
    config = make_config(bootstrap, namespace)
    with mover_of(config, loaded_store(config, int(rows))) as mover:
        copy_run(mover, open_run(mover, ("new",)), lambda progress: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
