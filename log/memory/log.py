"""One process's way to a log in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...clock import Clock
from ...errors import Refused, Unavailable
from ...schemas.topics import control_topic
from ..port import (
    REQUEST_TIMEOUT_S,
    Encodable,
    Headers,
    Message,
    Offsets,
    OnCommit,
    OnFailure,
    TooLarge,
    Topic,
    TopicAbsent,
)
from .broker import MAX_RECORD_BYTES, Broker
from .consumer import MemoryConsumer, refuse_absent
from .table import MemoryTable


class MemoryLog:
    """See :class:`~vecferry.log.port.Log`. Used by one thread."""

    address = "memory"

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self.admin = MemoryAdmin(broker)
        self.tables: list[MemoryTable] = []
        self.consumers: list[MemoryConsumer] = []

    def table(self, topic: str) -> MemoryTable:
        table = MemoryTable(self._broker, topic, self._clock)
        self.tables.append(table)
        return table

    def newest(self, topic: str, partitions: int, per_partition: int) -> list[Message]:
        held = [self._broker.partition((topic, partition)) for partition in range(partitions)]
        given = [one.records[: one.stable - one.begin] for one in held]
        return [record for records in given for record in records[-per_partition:]]

    def writer(self, namespace: str, collection: str) -> MemoryWriter:
        return MemoryWriter(self._broker, namespace, collection)

    def sender(self, *, bulk: bool = False) -> MemorySender:
        del bulk
        return MemorySender(self._broker)

    def consumer(self, group: str, on_commit: OnCommit) -> MemoryConsumer:
        consumer = MemoryConsumer(self._broker, group, on_commit, self._clock)
        self.consumers.append(consumer)
        return consumer

    def close(self) -> None:
        for table in self.tables:
            table.close()


class MemoryAdmin:
    """See :class:`~vecferry.log.port.Admin`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        found = {name: self._broker.topics[name] for name in names if name in self._broker.topics}
        return {
            name: Topic(name=name, partitions=len(topic.partitions), settings=topic.settings)
            for name, topic in found.items()
        }

    def topic_id(self, name: str) -> str:
        refuse_absent(self._broker, name)
        return str(self._broker.topics[name].number)

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> bool:
        return self._broker.create_topic(name, partitions, settings)

    def offsets(self, topic: str, partitions: int) -> Offsets:
        held = [self._broker.partition((topic, partition)) for partition in range(partitions)]
        return Offsets(
            begin=tuple(one.begin for one in held),
            stable=tuple(one.stable for one in held),
            end=tuple(one.end for one in held),
        )

    def end_offsets(
        self, topic: str, partitions: int, *, stable: bool = False, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, ...]:
        del timeout_s  # nothing to wait for
        offsets = self.offsets(topic, partitions)
        return offsets.stable if stable else offsets.end

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        found = self._broker.group(group).committed
        return {p: found[topic, p] for p in range(partitions) if (topic, p) in found}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        if self._broker.group(group).members:
            raise Unavailable(f"group {group} has members")
        self._broker.group(group).committed |= {(topic, p): offset for p, offset in offsets.items()}


class MemorySender:
    """See :class:`~vecferry.log.port.Sender`. What is sent is in the log at once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        on_failure: OnFailure | None = None,
    ) -> bool:
        settings = self._broker.topics[topic].settings if topic in self._broker.topics else {}
        longest = int(settings.get("max.message.bytes", MAX_RECORD_BYTES))
        try:
            if len(value or b"") + len(key or b"") > longest:
                raise TooLarge(f"topic {topic} takes records of at most {longest} bytes")
            self._broker.append((topic, partition), key, value, headers)
        except (TooLarge, TopicAbsent) as error:
            if on_failure is not None:
                on_failure(error)
        return True

    def learn(self, topic: str) -> None:
        refuse_absent(self._broker, topic)

    def serve(self, timeout_s: float = 0.0) -> None:
        del timeout_s  # everything was acknowledged at once

    def flush(self, timeout_s: float) -> int:
        del timeout_s
        return 0


class MemoryWriter:
    """See :class:`~vecferry.log.port.Writer`. Making one fences the one before."""

    def __init__(self, broker: Broker, namespace: str, collection: str) -> None:
        self._broker = broker
        self._place = (control_topic(namespace), 0)
        self._identity = f"{namespace}.{collection}.controller"
        self._collection = collection
        self._epoch = broker.number()
        broker.writers[self._identity] = self._epoch

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        if self._broker.writers[self._identity] != self._epoch:
            raise Refused(
                f"another controller of collection {self._collection!r} has taken over; leave the work to it, or run "
                "this command again once it has ended"
            )
        for key, record in records.items():
            self._broker.append(self._place, key.encode(), None if record is None else record.encode())

    def close(self) -> None:
        """Nothing to forget."""
