"""The state of a log in memory: topics, group offsets and members, and who may write which collection.

Nothing here waits and nothing happens by itself. Members of a group change hands only when their consumers poll, as
with Kafka; ``expel`` plays the broker that has heard nothing of a member for too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...schemas.position import next_offset
from ..port import Headers, Place, TopicAbsent

MAX_RECORD_BYTES = 1024 * 1024  # what brokers take by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One message of a log in memory, with the methods of :class:`~vecferry.log.port.Message`."""

    place: Place
    at: int
    raw_key: bytes | None
    raw_value: bytes | None
    raw_headers: tuple[tuple[str, bytes | None], ...] = ()
    is_end: bool = False

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.raw_key

    def value(self) -> bytes | None:
        return self.raw_value

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self.raw_headers)

    def error(self) -> object | None:
        return "the end of the partition" if self.is_end else None

    def __len__(self) -> int:
        return len(self.raw_value or b"")


@dataclass(slots=True)
class Partition:
    """``records`` hold offsets ``begin`` to ``begin + len(records) - 1``.

    ``open_since``: the first record of a transaction that is open, as another application may leave one.
    """

    begin: int = 0
    records: list[Record] = field(default_factory=list)
    open_since: int | None = None

    @property
    def end(self) -> int:
        """The offset that the next record will get."""
        return self.begin + len(self.records)

    @property
    def stable(self) -> int:
        """The offset up to which readers are given records."""
        return self.end if self.open_since is None else min(self.open_since, self.end)


@dataclass(slots=True)
class MemoryTopic:
    """A topic; ``number`` tells it from one of the same name that is made later."""

    number: int
    settings: dict[str, str]
    partitions: list[Partition]


@dataclass(slots=True)
class Group:
    """``members``: member → the live partitions that it has been given and has not yet given back."""

    committed: dict[Place, int] = field(default_factory=dict)
    members: dict[int, set[int]] = field(default_factory=dict)


class Broker:
    """What every :class:`~vecferry.log.memory.MemoryLog` of a test shares, as processes share a Kafka cluster."""

    def __init__(self) -> None:
        self.topics: dict[str, MemoryTopic] = {}
        self.groups: dict[str, Group] = {}
        self.writers: dict[str, int] = {}  # collection -> the newest writer
        self._made = 0

    def number(self) -> int:
        """A number that was never given before."""
        self._made += 1
        return self._made

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> bool:
        """False for a topic that exists, which is left as it is."""
        if name in self.topics:
            return False
        made = [Partition() for _ in range(partitions)]
        self.topics[name] = MemoryTopic(number=self.number(), settings=dict(settings), partitions=made)
        return True

    def partition(self, place: Place) -> Partition:
        """Raises TopicAbsent."""
        topic = self.topics.get(place[0])
        if topic is None or place[1] >= len(topic.partitions):
            raise TopicAbsent(f"topic {place[0]} has no partition {place[1]}")
        return topic.partitions[place[1]]

    def append(self, place: Place, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """Append a record; returns its offset. Raises TopicAbsent."""
        partition = self.partition(place)
        offset = partition.end
        kept = tuple((name, text.encode() if isinstance(text, str) else text) for name, text in headers)
        record = Record(place=place, at=offset, raw_key=key, raw_value=value, raw_headers=kept)
        partition.records.append(record)
        return offset

    def read(self, place: Place, offset: int) -> Record | None:
        """The record at ``offset``, or None where readers have come to the end of the partition."""
        partition = self.partition(place)
        return partition.records[offset - partition.begin] if offset < partition.stable else None

    def delete_before(self, place: Place, offset: int) -> None:
        """Let retention pass everything below ``offset``."""
        partition = self.partition(place)
        del partition.records[: max(0, offset - partition.begin)]
        partition.begin = max(partition.begin, offset)

    def group(self, name: str) -> Group:
        """The group called ``name``, made if need be."""
        return self.groups.setdefault(name, Group())

    def expel(self, group: str, member: int) -> None:
        """Give the partitions of a member that is gone, or silent, to the others."""
        self.group(group).members.pop(member, None)

    def shares(self, group: str, topic: str) -> dict[int, set[int]]:
        """Member → the live partitions that it should have, dealt in turn."""
        members = sorted(self.group(group).members)
        width = len(self.topics[topic].partitions)
        return {member: set(range(index, width, len(members))) for index, member in enumerate(members)}


def end_of(place: Place, offset: int) -> Record:
    """The message that says that ``place`` ends at ``offset``."""
    return Record(place=place, at=offset, raw_key=None, raw_value=None, is_end=True)


def after(record: Record) -> int:
    """The offset to read next."""
    return record.at if record.is_end else next_offset(record.at)
