"""Compacted topics as tables in memory, kept current by the one thread of :class:`Following`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException

from ...clock import Clock
from ...errors import Unavailable
from ...forks import Home
from ...schemas.position import next_offset
from ..port import SYNC_TIMEOUT_S, Admin, Message, Place, TopicAbsent
from .clients import ABSENT
from .following import Following

_OPEN_S = 2.0  # many times what a commit takes


class _Followed:
    """The content of one topic, shared by all tables of it."""

    def __init__(self, topic: str) -> None:
        self.place: Place = (topic, 0)
        self.users = 0
        self.changed = threading.Condition()
        self.values: dict[str, tuple[bytes, tuple[tuple[str, bytes], ...]]] = {}
        self.reached = -1  # every record below this offset is in the table
        self.read = False  # to its end, at least once
        self.changes = 0
        self.failure: Unavailable | None = None

    def take(self, messages: Sequence[Message]) -> None:
        with self.changed:
            for message in messages:
                self._take(message)
            self.changed.notify_all()

    def fail(self, failure: Unavailable) -> None:
        with self.changed:
            self.failure = failure
            self.changed.notify_all()

    def _take(self, message: Any) -> None:
        if message.error() is not None:
            self.reached = max(self.reached, message.offset())
            self.read = True
            return
        key = (message.key() or b"").decode("utf-8", "replace")
        value = message.value()
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = (value, tuple(message.headers() or ()))
        self.changes += 1
        # A busy topic may never report its end, so every record that was read counts too.
        self.reached = max(self.reached, next_offset(message.offset()))


class KafkaTable:
    """A Table. Tables of one topic share its content; when Kafka is away they keep it, and catch up later."""

    def __init__(
        self, followed: _Followed, admin: Callable[[], Admin], leave: Callable[[], None], clock: Clock
    ) -> None:
        self._followed = followed
        self._admin = admin
        self._leave = leave
        self._clock = clock
        self._closed = False
        self._home = Home(f"this table of topic {followed.place[0]}", self)

    @property
    def changes(self) -> int:
        return self._followed.changes

    @property
    def ended(self) -> bool:
        return self._followed.failure is not None

    def get(self, key: str) -> bytes | None:
        entry = self._entry(key)
        return None if entry is None else entry[0]

    def items(self, prefix: str) -> dict[str, bytes]:
        self._home.check()
        with self._followed.changed:
            self._refuse_unread()
            return {key: entry[0] for key, entry in self._followed.values.items() if key.startswith(prefix)}

    def headers(self, key: str) -> dict[str, bytes]:
        entry = self._entry(key)
        return {} if entry is None else dict(entry[1])

    def _entry(self, key: str) -> tuple[bytes, tuple[tuple[str, bytes], ...]] | None:
        self._home.check()
        with self._followed.changed:
            entry = self._followed.values.get(key)
            if entry is None:
                self._refuse_unread()
            return entry

    def _refuse_unread(self) -> None:
        if not self._followed.read:
            raise self._followed.failure or Unavailable(
                f"topic {self._followed.place[0]} was not read to its end yet: Kafka does not answer"
            )

    def sync(self, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """As the port says. Waits a short time for a transaction that is open at the time of the call."""
        until_s = self._clock.monotonic_s() + timeout_s
        end = self._end(stable=False, until_s=until_s - timeout_s / 2)  # the records need time too
        # A commit returns before its marker is written, so a transaction that looks open may be committed.
        if self._reach(end, min(self._left_s(until_s) / 2, _OPEN_S)):
            return
        # A transaction that stays open belongs to a controller that was killed, so none of it counts. The broker ends
        # it only after its time-out, and checks every ten seconds.
        end = self._end(stable=True, until_s=until_s)
        if not self._reach(end, self._left_s(until_s)):
            raise Unavailable(
                f"topic {self._followed.place[0]} could not be read to offset {end} within {timeout_s:g} s: "
                "Kafka does not answer"
            )

    def _left_s(self, until_s: float) -> float:
        return max(0.0, until_s - self._clock.monotonic_s())

    def _end(self, *, stable: bool, until_s: float) -> int:
        # Asked of the admin client, because the consumer answers only between two polls.
        topic = self._followed.place[0]
        try:
            return self._admin().end_offsets(topic, 1, stable=stable, timeout_s=self._left_s(until_s))[0]
        except Unavailable as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() in ABSENT:
                raise TopicAbsent(f"topic {topic} is not there") from error
            raise

    def _reach(self, end: int, timeout_s: float) -> bool:
        if not self.wait_for(lambda: self._followed.reached >= end, timeout_s):
            return False
        self._followed.read = True  # a topic that is never quiet may never report its end
        return True

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        self._home.check()
        deadline_s = self._clock.monotonic_s() + timeout_s
        changed = self._followed.changed
        with changed:
            while not condition():
                if self._followed.failure is not None:
                    raise self._followed.failure
                left_s = deadline_s - self._clock.monotonic_s()
                if left_s <= 0 or self._closed:
                    return False
                changed.wait(left_s)
            return True

    def close(self) -> None:
        if self._home.left:
            return
        with self._followed.changed:
            if self._closed:
                return
            self._closed = True
            self._followed.changed.notify_all()
        self._leave()


class Tables:
    """Every table of a process; thread-safe."""

    def __init__(self, following: Following, admin: Callable[[], Admin], clock: Clock) -> None:
        self._following = following
        self._admin = admin
        self._clock = clock
        self._lock = threading.Lock()
        self._followed: dict[str, _Followed] = {}

    def open(self, topic: str) -> KafkaTable:
        """``topic`` as a table, read again if its table has ended. Raises Unavailable once the log is closed."""
        with self._lock:
            followed = self._followed.get(topic)
            if followed is None or followed.failure is not None:
                followed = _Followed(topic)
                self._following.read({followed.place: 0}, followed)
                self._followed[topic] = followed
            followed.users += 1
        return KafkaTable(followed, self._admin, lambda: self._leave(topic, followed), self._clock)

    def _leave(self, topic: str, followed: _Followed) -> None:
        with self._lock:
            followed.users -= 1
            # A table that has ended is no longer followed, and another table may follow its topic by now.
            if followed.users == 0 and self._followed.get(topic) is followed:
                del self._followed[topic]
                if followed.failure is None:
                    self._following.leave({followed.place})
