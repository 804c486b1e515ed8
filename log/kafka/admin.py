"""Topics, offsets and groups through the admin client. Every function blocks at most REQUEST_TIMEOUT_S per request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports these without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ...forks import Home
from ..port import Offsets, Topic
from .clients import REQUEST_TIMEOUT_S, admin_config, made, patiently
from .errors import unavailable
from .offsets import Bound, list_offsets

T = TypeVar("T")

_NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # 16 zero bytes, as the client writes them


class Admin:
    """A thin, typed face of AdminClient that raises Unavailable with the address and the remedy."""

    def __init__(self, kafka: KafkaSection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._clock = clock
        self._client = made(AdminClient, admin_config(kafka))
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
                self._client.poll(0)
                raise unavailable(self._kafka, error) from error
            return False
        return True

    def offsets(self, topic: str, partitions: int) -> Offsets:
        """See the port."""
        begin, end = self._list(topic, partitions, (Bound.BEGIN, Bound.END), REQUEST_TIMEOUT_S)
        # Asked for after the end: a record that comes in between is none that a transaction holds back.
        (stable,) = self._list(topic, partitions, (Bound.STABLE,), REQUEST_TIMEOUT_S)
        return Offsets(begin=begin, stable=tuple(map(min, stable, end)), end=end)

    def end_offsets(
        self, topic: str, partitions: int, *, stable: bool = False, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, ...]:
        """See the port; one request."""
        return self._list(topic, partitions, (Bound.STABLE if stable else Bound.END,), timeout_s)[0]

    def _list(self, topic: str, partitions: int, bounds: Sequence[Bound], timeout_s: float) -> list[tuple[int, ...]]:
        self._home.check()
        return list_offsets(
            self._kafka, self._client, topic, partitions, bounds, clock=self._clock, timeout_s=timeout_s
        )

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
        return patiently(self._kafka, self._client, request, clock=self._clock, timeout_s=timeout_s)


def _succeeded(answer: ConsumerGroupTopicPartitions) -> list[TopicPartition]:
    """The partitions of an answer; raises the error of the first that has one: the answer as a whole never does."""
    entries = answer.topic_partitions or []
    for entry in entries:
        if entry.error is not None:
            raise KafkaException(entry.error)
    return entries
