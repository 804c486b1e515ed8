"""Topics, offsets and groups through the admin client. Every function blocks at most REQUEST_TIMEOUT_S per request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports these without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from ..config import KafkaSection
from .clients import REQUEST_TIMEOUT_S, admin_config, unavailable

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

RETENTION_MS = 30 * 24 * 3_600 * 1_000

LIVE_TOPIC = {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS), "retention.bytes": "-1"}
# Small segments and an eager cleaner: every reader of a compacted topic starts at its beginning.
COMPACTED_TOPIC = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as the cluster describes it; ``settings`` are its effective configuration values."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Per partition: the first offset still in the topic, and the offset that the next record will get."""

    begin: tuple[int, ...]
    end: tuple[int, ...]


class Admin:
    """A thin, typed face of AdminClient that raises Unavailable with the address and the remedy."""

    def __init__(self, kafka: KafkaSection) -> None:
        self._kafka = kafka
        self._client = AdminClient(admin_config(kafka))

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of ``names`` that exist."""
        try:
            known = self._client.list_topics(timeout=REQUEST_TIMEOUT_S).topics
            found = {name: len(known[name].partitions) for name in names if name in known}
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
            answers = self._client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S) if resources else {}
            settings = {resource.name: future.result() for resource, future in answers.items()}
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
        return {
            name: Topic(
                name=name,
                partitions=partitions,
                settings={key: entry.value for key, entry in settings[name].items() if entry.value is not None},
            )
            for name, partitions in found.items()
        }

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> None:
        """Create a topic with the cluster's default replication; one that exists is left as it is."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=dict(settings))
        try:
            self._client.create_topics([new], request_timeout=REQUEST_TIMEOUT_S)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise unavailable(self._kafka, error) from error

    def offsets(self, topic: str, partitions: int) -> Offsets:
        """Begin and end offsets of every partition, as a read_committed consumer sees them."""
        return Offsets(
            begin=self._list(topic, partitions, _EARLIEST),
            end=self._list(topic, partitions, _LATEST),
        )

    def end_offsets(
        self, topic: str, partitions: int, *, committed: bool = True, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, ...]:
        """End offsets alone, in one request; with ``committed=False`` those of open transactions count too."""
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._list(topic, partitions, _LATEST, isolation, timeout_s)

    def _list(
        self,
        topic: str,
        partitions: int,
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> tuple[int, ...]:
        request = {TopicPartition(topic, partition): spec for partition in range(partitions)}
        try:
            answers = self._client.list_offsets(request, isolation_level=isolation, request_timeout=timeout_s)
            found = {partition.partition: future.result().offset for partition, future in answers.items()}
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
        return tuple(found[partition] for partition in range(partitions))

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """The group's committed offsets; partitions without one are left out."""
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        try:
            answer = self._client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, wanted)], request_timeout=REQUEST_TIMEOUT_S
            )[group].result()
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
        return {entry.partition: entry.offset for entry in answer.topic_partitions if entry.offset >= 0}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit for a group that has no member: the explicit first commit of every group."""
        entries = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._client.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, entries)], request_timeout=REQUEST_TIMEOUT_S
            )[group].result()
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
