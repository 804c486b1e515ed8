"""What the rest of vecferry needs of a log: topics, consumer groups, tables and administration.

``log/kafka`` is the real one, ``log/memory`` one in memory; ``tests/log`` holds both to one contract suite.

The words are Kafka's. A *place* is one partition of one topic. An *offset* is always the next one to read or to commit.
Errors are vecferry's own: Unavailable when the log does not answer, Refused when it answers that it will not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import Unavailable, VecferryError

Place = tuple[str, int]  # topic, partition
Headers = Sequence[tuple[str, str | bytes | None]]

REQUEST_TIMEOUT_S = 15.0
SYNC_TIMEOUT_S = 2 * REQUEST_TIMEOUT_S  # for the end of a topic, and for its records


class Message(Protocol):
    """One record of a partition, or the end of one; the client's own object, without a wrapper."""

    def topic(self) -> str:
        """Name of the topic."""
        ...

    def partition(self) -> int:
        """Number of the partition."""
        ...

    def offset(self) -> int:
        """Its offset."""
        ...

    def key(self) -> bytes | None:
        """The id of the row, or the key of the record."""
        ...

    def value(self) -> bytes | None:
        """None for a tombstone. Compare with None: a message without bytes is falsy."""
        ...

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Names and values; a name may stand more than once."""
        ...

    def error(self) -> object | None:
        """Not None for the end of a partition: ``offset`` is then the offset that the next record will get."""
        ...

    def __len__(self) -> int:
        """Bytes of the value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as the cluster describes it; ``settings`` are its effective configuration values."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Per partition: the first offset still in the topic, and the offset that the next record will get.

    ``stable``: the offset up to which readers are given records. It is below ``end`` while a transaction is open: that
    one and all that is behind its first record wait for its end.
    """

    begin: tuple[int, ...]
    stable: tuple[int, ...]
    end: tuple[int, ...]


def held_back(stable: Sequence[int], end: Sequence[int]) -> dict[int, int]:
    """Partition -> the first offset that readers are not given, because a transaction is open there."""
    return {partition: at for partition, (at, last) in enumerate(zip(stable, end, strict=True)) if at < last}


class TooLarge(VecferryError):
    """The topic does not take a record of this size."""


class TopicAbsent(Unavailable):
    """The topic does not exist (any more)."""


class OffsetGone(VecferryError):
    """The offset to read from is not in the topic: retention has passed it, or the topic was recreated."""

    def __init__(self, place: Place, detail: str) -> None:
        super().__init__(detail)
        self.place = place


class Admin(Protocol):
    """Topics, offsets and groups. Every method blocks for a request or two, and raises Unavailable.

    What a broker did not answer is not known: no method returns a part of an answer, or a number in place of one.
    """

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of ``names`` that exist."""
        ...

    def topic_id(self, name: str) -> str:
        """The cluster's id of this topic; a recreated topic has another. "" if the cluster is too old to have ids.

        Raises Unavailable, also when there is no such topic.
        """
        ...

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> bool:
        """Create a topic with the cluster's default replication; False for one that exists, which is left as it is."""
        ...

    def offsets(self, topic: str, partitions: int) -> Offsets:
        """Where every partition begins and ends."""
        ...

    def end_offsets(
        self, topic: str, partitions: int, *, stable: bool = False, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, ...]:
        """``Offsets.end`` alone, or ``Offsets.stable``."""
        ...

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """The group's committed offsets; partitions without one are left out."""
        ...

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit for a group that has no member: the explicit first commit of every group."""
        ...


class Table(Protocol):
    """Partition 0 of a compacted topic: the newest value of each key wins, null removes it. Thread-safe.

    A table that was not yet read to its end once does not say that a key is absent: ``get``, ``items`` and ``headers``
    raise Unavailable instead.
    """

    @property
    def changes(self) -> int:
        """How many records were read so far: while it stays equal, nothing has changed."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the table has stopped following its topic for good; it keeps what it had. Does not block."""
        ...

    def get(self, key: str) -> bytes | None:
        """The value of ``key``, or None."""
        ...

    def items(self, prefix: str) -> dict[str, bytes]:
        """All values whose key starts with ``prefix``."""
        ...

    def headers(self, key: str) -> dict[str, bytes]:
        """The headers of the newest record of ``key``; empty when there is none."""
        ...

    def sync(self, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """Block until all that was committed at the time of the call is in the table, at most ``timeout_s``.

        Raises TopicAbsent when there is no such topic, Unavailable when the log does not answer in time.
        """
        ...

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Block until ``condition()`` holds, checking at every change; False when ``timeout_s`` passed first.

        Raises Unavailable once the table has ended.
        """
        ...

    def close(self) -> None:
        """Stop following; idempotent."""
        ...


class Encodable(Protocol):
    """A record of the control topic."""

    def encode(self) -> bytes:
        """The record's bytes."""
        ...


class Writer(Protocol):
    """Writes records of one collection to the control topic, atomically; thread-safe.

    Making one takes over: a writer of the same collection that exists anywhere else fails with Refused from then on.
    """

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        """Write all of ``records`` or none (None removes a key); blocks until committed.

        Raises Refused when another writer has taken over; Unavailable when the log does not answer in time: then it may
        or may not be written, and the next call makes sure first.
        """
        ...

    def close(self) -> None:
        """Forget the writer; what was written stays."""
        ...


OnFailure = Callable[[VecferryError], None]


class Sender(Protocol):
    """Sends records that nobody may lose: acknowledged by all replicas, in order. Thread-safe.

    A failure is reported to the record's ``on_failure`` from inside ``serve``, ``flush`` or ``send``: TooLarge for a
    record that the topic does not take, Unavailable for any other.
    """

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
        """Queue a record; False when the queue is full and nothing was queued. Does not block."""
        ...

    def learn(self, topic: str) -> None:
        """Connect to the leaders of ``topic``, which may be new, so that sending does not wait for them.

        Blocks; raises Unavailable.
        """
        ...

    def serve(self, timeout_s: float = 0.0) -> None:
        """Serve acknowledgements; waits at most ``timeout_s`` for one."""
        ...

    def flush(self, timeout_s: float) -> int:
        """Block until every record of this sender is acknowledged or has failed; returns how many are not."""
        ...


class Listener(Protocol):
    """What a consumer calls from inside ``poll``, ``consume`` and ``close`` when its partitions change."""

    def assigned(self, partitions: list[int]) -> None:
        """These live partitions are owned now. Nothing of them is read before ``Consumer.read``."""
        ...

    def revoked(self, partitions: list[int]) -> None:
        """These live partitions are about to be owned by another member; it may still commit."""
        ...

    def lost(self, partitions: list[int]) -> None:
        """These live partitions may already be owned by another member; commits would fail."""
        ...


class Consumer(Protocol):
    """One member of a consumer group. All methods are called from one thread, and the listener from within them.

    Offsets are committed by hand, and nothing is ever reset: what cannot be read raises OffsetGone or TopicAbsent from
    ``poll`` or ``consume``. A failure that passes is logged, and until then nothing is returned.
    """

    def subscribe(self, topic: str, listener: Listener) -> None:
        """Join the group."""
        ...

    def poll(self, timeout_s: float) -> Message | None:
        """The next message or end of a partition, waiting at most ``timeout_s``."""
        ...

    def consume(self, limit: int, timeout_s: float) -> list[Message]:
        """At most ``limit`` messages or ends of partitions; waits for that many, at most ``timeout_s``."""
        ...

    def read(self, starts: Mapping[Place, int]) -> None:
        """Read these places from these offsets on, beside those that are read already. They may be of any topic."""
        ...

    def leave(self, places: set[Place]) -> None:
        """Read these places no more."""
        ...

    def seek(self, place: Place, offset: int) -> None:
        """Go back (or forward) to ``offset``; what the client holds of the place is dropped."""
        ...

    def pause(self, places: set[Place]) -> None:
        """Return nothing of these places until ``resume``."""
        ...

    def resume(self, places: set[Place]) -> None:
        """The opposite of ``pause``."""
        ...

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        """What the group has committed; places without an offset are left out. Blocks; raises Unavailable."""
        ...

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        """Commit; ``on_commit`` of the consumer is told the outcome, before this returns if ``wait``. Never raises."""
        ...

    def seen_end(self, place: Place) -> int | None:
        """The end of the partition as far as the client has heard of it; None when it has not. Does not block."""
        ...

    def close(self) -> None:
        """Leave the group; calls ``revoked`` for what is owned."""
        ...


# ``None`` and the offsets that Kafka has, or the reason why nothing was committed and no offsets.
OnCommit = Callable[[str | None, Mapping[Place, int]], None]


class Log(Protocol):
    """One process's way to the log; its clients are made when they are first needed, and shared. Thread-safe."""

    @property
    def address(self) -> str:
        """Where the log is, for messages."""
        ...

    @property
    def admin(self) -> Admin:
        """The one client for administration."""
        ...

    def table(self, topic: str) -> Table:
        """``topic`` as a table, followed from its beginning. Does not block; close it."""
        ...

    def newest(self, topic: str, partitions: int, per_partition: int) -> list[Message]:
        """The last ``per_partition`` records of each partition, fewer where there are fewer; joins no group.

        Blocks until every partition was read to where it ended at the call; raises Unavailable.
        """
        ...

    def writer(self, namespace: str, collection: str) -> Writer:
        """A new writer of ``collection``, see there. Blocks; raises Unavailable."""
        ...

    def sender(self, *, bulk: bool = False) -> Sender:
        """A sender. Those for small records share one client; a ``bulk`` one has its own, with a bounded queue."""
        ...

    def consumer(self, group: str, on_commit: OnCommit) -> Consumer:
        """A new member of ``group``, not yet subscribed."""
        ...

    def close(self) -> None:
        """Close every client and table; idempotent."""
        ...
