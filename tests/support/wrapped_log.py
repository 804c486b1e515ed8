"""A log whose consumers behave in another way than Kafka's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vecferry.log.port import Admin, Consumer, Listener, Log, Message, OnCommit, Place, Sender, Table, Writer


class WrappedConsumer:
    """Passes every call on to ``inner``; a test overrides what it wants to be otherwise."""

    def __init__(self, inner: Consumer, on_commit: OnCommit) -> None:
        self.inner = inner
        self.on_commit = on_commit
        self.listener: Listener | None = None

    def subscribe(self, topic: str, listener: Listener) -> None:
        self.listener = listener
        self.inner.subscribe(topic, listener)

    def poll(self, timeout_s: float) -> Message | None:
        return self.inner.poll(timeout_s)

    def consume(self, limit: int, timeout_s: float) -> list[Message]:
        return self.inner.consume(limit, timeout_s)

    def read(self, starts: Mapping[Place, int]) -> None:
        self.inner.read(starts)

    def leave(self, places: set[Place]) -> None:
        self.inner.leave(places)

    def seek(self, place: Place, offset: int) -> None:
        self.inner.seek(place, offset)

    def pause(self, places: set[Place]) -> None:
        self.inner.pause(places)

    def resume(self, places: set[Place]) -> None:
        self.inner.resume(places)

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        return self.inner.committed(places)

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        self.inner.commit(offsets, wait=wait)

    def seen_end(self, place: Place) -> int | None:
        return self.inner.seen_end(place)

    def close(self) -> None:
        self.inner.close()


class WrappedLog:
    """``log``, with ``wrap`` around each of its consumers, which are kept in ``made``."""

    def __init__(self, log: Log, wrap: Callable[[Consumer, OnCommit], Consumer]) -> None:
        self._log = log
        self._wrap = wrap
        self.made: list[Consumer] = []

    @property
    def address(self) -> str:
        return self._log.address

    @property
    def admin(self) -> Admin:
        return self._log.admin

    def table(self, topic: str) -> Table:
        return self._log.table(topic)

    def newest(self, topic: str, partitions: int, per_partition: int) -> list[Message]:
        return self._log.newest(topic, partitions, per_partition)

    def writer(self, namespace: str, collection: str) -> Writer:
        return self._log.writer(namespace, collection)

    def sender(self, *, bulk: bool = False) -> Sender:
        return self._log.sender(bulk=bulk)

    def consumer(self, group: str, on_commit: OnCommit) -> Consumer:
        consumer = self._wrap(self._log.consumer(group, on_commit), on_commit)
        self.made.append(consumer)
        return consumer

    def close(self) -> None:
        self._log.close()
