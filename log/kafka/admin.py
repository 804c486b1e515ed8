"""Topics, offsets and groups through the admin client. Every function blocks at most REQUEST_TIMEOUT_S per request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports these without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ...forks import Home
from ..port import Offsets, Topic
from .clients import REQUEST_TIMEOUT_S, admin_config, patiently, unavailable

T = TypeVar("T")

_NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # 16 zero bytes, as the client writes them

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Admin:
    """A thin, typed face of AdminClient that raises Unavailable with the address and the remedy."""

    def __init__(self, kafka: KafkaSection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._clock = clock
        self._client = AdminClient(admin_config(kafka))
        self._home = Home("this client of Kafka", self)

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of ``names`` that exist."""
        # A topic may be listed and its settings unknown: just made, or just deleted. The next list tells which.
        return self._patiently(lambda: self._topics(names))

    def _topics(self, names: Sequence[str]) -> dict[str, Topic]:
        known = self._client.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        found = {name: len(known[name].partitions) for name in names if name in known}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
        answers = self._client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S) if resources else {}
        settings = {resource.name: future.result() for resource, future in answers.items()}
        return {
            name: Topic(
                name=name,
                partitions=partitions,
                settings={key: entry.value for key, entry in settings[name].items() if entry.value is not None},
            )
            for name, partitions in found.items()
        }

    def topic_id(self, name: str) -> str:
        """The cluster's id of this topic; a recreated topic has another. "" if the cluster is too old to have ids.

        Raises Unavailable, also when there is no such topic.
        """
        described = self._patiently(
            lambda: self._client.describe_topics(TopicCollection([name]), request_timeout=REQUEST_TIMEOUT_S)[
                name
            ].result()
        )
        found = str(described.topic_id)
        return "" if found == _NO_TOPIC_ID else found

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> bool:
        """Create a topic with the cluster's default replication; False for one that exists, which is left as it is."""
        self._home.check()
        new = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=dict(settings))
        try:
            self._client.create_topics([new], request_timeout=REQUEST_TIMEOUT_S)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise unavailable(self._kafka, error) from error
            return False
        return True

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

        def ask() -> dict[int, int]:
            try:
                answers = self._client.list_offsets(request, isolation_level=isolation, request_timeout=timeout_s)
                return {partition.partition: future.result().offset for partition, future in answers.items()}
            except KafkaException as error:
                if error.args[0].code() == KafkaError._NOENT:
                    # A client whose metadata lack this topic does not ask for its leaders unless told to.
                    self._client.list_topics(topic, timeout=timeout_s)
                raise

        found = self._patiently(ask, timeout_s)
        return tuple(found[partition] for partition in range(partitions))

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """The group's committed offsets; partitions without one are left out."""
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        request = [ConsumerGroupTopicPartitions(group, wanted)]

        def ask() -> list[TopicPartition]:
            answers = self._client.list_consumer_group_offsets(request, request_timeout=REQUEST_TIMEOUT_S)
            return _succeeded(answers[group].result())

        return {entry.partition: entry.offset for entry in self._patiently(ask) if entry.offset >= 0}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit for a group that has no member: the explicit first commit of every group."""
        entries = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        request = [ConsumerGroupTopicPartitions(group, entries)]

        def ask() -> None:
            answers = self._client.alter_consumer_group_offsets(request, request_timeout=REQUEST_TIMEOUT_S)
            _succeeded(answers[group].result())

        self._patiently(ask)

    def _patiently(self, request: Callable[[], T], timeout_s: float = REQUEST_TIMEOUT_S) -> T:
        self._home.check()
        return patiently(self._kafka, request, clock=self._clock, timeout_s=timeout_s)


def _succeeded(answer: ConsumerGroupTopicPartitions) -> list[TopicPartition]:
    """The partitions of an answer; raises the error of the first that has one: the answer as a whole never does."""
    entries = answer.topic_partitions or []
    for entry in entries:
        if entry.error is not None:
            raise KafkaException(entry.error)
    return entries
