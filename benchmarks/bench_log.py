"""What the benchmarks of the apply side share: a collection on a broker, a backlog, a store that does nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray
from vecferry.config import load_config
from vecferry.log.kafka.clients import producer_config
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.topics import COMPACTED_TOPIC, LIVE_TOPIC
from vecferry.schemas.batch import Applied, EventBatch, Mark
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection
from vecferry.schemas.topics import control_topic, dlq_topic, events_topic, group_id, progress_topic
from vecferry.stores.base import Capabilities, Guarantee, Store

Apply = Callable[[EventBatch, Sequence[Mark]], NDArray[np.int8]]


class Log:
    """A collection with its topics and a group for store "new"; use as a context manager."""

    name = "bench"
    partitions = 8

    def __init__(self, bootstrap: str, *, dimension: int) -> None:
        self.namespace = "b" + uuid.uuid4().hex[:8]
        self.config = load_config(
            {
                "namespace": self.namespace,
                "kafka": {"bootstrap_servers": bootstrap},
                "stores": {"new": {"kind": "lancedb", "uri": "unused"}},
                "collections": {
                    self.name: {
                        "dimension": dimension,
                        "metric": "l2",
                        "space": {"model": "random", "version": "1"},
                        "partitions": self.partitions,
                        "in": {"new": {"table": "bench"}},
                    }
                },
            }
        )
        self.collection = self.config.collection(self.name)
        self.topic = events_topic(self.namespace, self.name)
        self.group = group_id(self.namespace, self.name, "new")
        self.log = KafkaLog(self.config.kafka)
        self.admin = self.log.admin
        self.admin.create_topic(self.topic, self.partitions, LIVE_TOPIC)
        for topic in (
            control_topic(self.namespace),
            progress_topic(self.namespace),
            dlq_topic(self.namespace, self.name),
        ):
            self.admin.create_topic(topic, 1, COMPACTED_TOPIC)
        self.rewind()
        self.control = self.log.table(control_topic(self.namespace))
        self.control.sync()
        self._producer = Producer(producer_config(self.config.kafka))
        self._encoder = EventEncoder(self.collection)
        self._vectors = np.random.default_rng(1).random((512, dimension), dtype=np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.control.close()

    def rewind(self) -> None:
        """Let the group begin at the first offset (again)."""
        self.admin.commit(self.group, self.topic, dict.fromkeys(range(self.partitions), 0))

    def publish(self, events: int, *, ids: int | None = None) -> None:
        """Put ``events`` upserts of ``ids`` distinct ids (default: all distinct) into the topic."""
        for number in range(events):
            key = b"id-%08d" % (number % (ids or events))
            value = self._encoder.upsert(
                key, self._vectors[number % 512], b'{"section": "libs"}', event_id=bytes(16), occurred_at_ms=1
            )
            while True:
                try:
                    self._producer.produce(self.topic, value, key)
                    break
                except BufferError:
                    self._producer.poll(0.05)
            self._producer.poll(0)
        self._producer.flush()


def null_store(collection: Collection, apply: Apply) -> Store:
    """A store that remembers nothing and has applied nothing; ``apply`` sees what it is given."""
    return cast(Store, _NullStore(collection.partitions, apply))


class _NullStore:
    capabilities = Capabilities(
        guarantee=Guarantee.ATOMIC,
        id_types=frozenset({"text"}),
        metrics=frozenset({"l2"}),
        filters=frozenset(),
    )

    def __init__(self, partitions: int, apply: Apply) -> None:
        self._live = dict.fromkeys(range(partitions), 0)
        self.apply = apply

    def applied(self) -> Applied:
        return Applied(live=self._live, complete=frozenset(), snapshots={})

    def maintain(self) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the null store has no {name}")
