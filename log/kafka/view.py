"""A compacted topic as a table in memory, kept current by a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ...clock import SYSTEM_CLOCK, Clock
from ...config import KafkaSection
from ...errors import Unavailable
from ...schemas.position import next_offset
from .admin import Admin
from .clients import REQUEST_TIMEOUT_S, consumer_config, unavailable

_POLL_S = 0.1
_BATCH = 1_000
_OPEN_S = 2.0  # many times what a commit takes
_VIEW = {
    "enable.partition.eof": True,
    # Offset 0, and the beginning if that is gone: to ask for the beginning first costs a fresh client half a second.
    "auto.offset.reset": "earliest",
}


class CompactedView:
    """Tails partition 0 of ``topic`` from its beginning; the newest value of each key wins, null removes it.

    Construction starts the thread and does not block. When Kafka goes away the view keeps what it has and catches up
    later. All methods are thread-safe.
    """

    def __init__(self, kafka: KafkaSection, topic: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._admin = Admin(kafka)
        self._clock = clock
        self._partition = TopicPartition(topic, 0, 0)
        # The group is never joined and nothing is committed; the client wants a name.
        config: dict[str, Any] = consumer_config(kafka, "vecferry-view")
        self._consumer = Consumer({**config, **_VIEW})
        self._changed = threading.Condition()
        self._values: dict[str, tuple[bytes, tuple[tuple[str, bytes], ...]]] = {}
        self._reached = -1  # every record below this offset is in the table
        self._changes = 0
        self._closed = False
        self._failure: Exception | None = None
        self._consumer.assign([self._partition])
        self._thread = threading.Thread(target=self._run, name=f"view-{topic}", daemon=True)
        self._thread.start()

    @property
    def changes(self) -> int:
        """How many records were taken in so far: while it stays, nothing has changed."""
        return self._changes

    @property
    def ended(self) -> bool:
        """Whether the view has stopped following its topic for good; it keeps what it had. Does not block."""
        return self._failure is not None

    def get(self, key: str) -> bytes | None:
        """The value of ``key``, or None."""
        with self._changed:
            entry = self._values.get(key)
            return None if entry is None else entry[0]

    def items(self, prefix: str) -> dict[str, bytes]:
        """All values whose key starts with ``prefix``."""
        with self._changed:
            return {key: entry[0] for key, entry in self._values.items() if key.startswith(prefix)}

    def headers(self, key: str) -> dict[str, bytes]:
        """The headers of the newest record of ``key``; empty when there is none."""
        with self._changed:
            entry = self._values.get(key)
            return {} if entry is None else dict(entry[1])

    def sync(self, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Block until all that was committed at the time of the call is in the table; raises Unavailable.

        A transaction that was open then is waited for, but not for long.
        """
        # A commit returns before its marker is written, so what is still open may have been committed.
        if self._reach(self._end(committed=False, timeout_s=timeout_s), min(timeout_s, _OPEN_S)):
            return
        # What stays open is the transaction of a controller that was killed: nothing of it counts, and the broker,
        # which looks every ten seconds, ends it only some time after its time-out.
        end = self._end(committed=True, timeout_s=timeout_s)
        if not self._reach(end, timeout_s):
            raise Unavailable(f"topic {self._partition.topic} could not be read to offset {end} within {timeout_s:g} s")

    def _end(self, *, committed: bool, timeout_s: float) -> int:
        # Not asked of the consumer: it answers only between two calls of the thread that polls it.
        return self._admin.end_offsets(self._partition.topic, 1, committed=committed, timeout_s=timeout_s)[0]

    def _reach(self, end: int, timeout_s: float) -> bool:
        return self.wait_for(lambda: self._reached >= end, timeout_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Block until ``condition()`` holds, checking at every change; False when ``timeout_s`` passed first."""
        deadline = self._clock.monotonic_s() + timeout_s
        with self._changed:
            while not condition():
                if self._failure is not None:
                    raise self._failure
                left = deadline - self._clock.monotonic_s()
                if left <= 0 or self._closed:
                    return False
                self._changed.wait(left)
            return True

    def close(self) -> None:
        """Stop the thread and leave; idempotent."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                first = self._consumer.poll(_POLL_S)
                if first is None:
                    continue
                # Asked for many, the client would wait for many; what is there already comes at once.
                messages = [first, *self._consumer.consume(num_messages=_BATCH, timeout=0)]
                with self._changed:
                    for message in messages:
                        self._take(message)
                    self._changed.notify_all()
        except KafkaException as error:
            with self._changed:
                self._failure = unavailable(self._kafka, error)
                self._changed.notify_all()

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._reached = max(self._reached, message.offset())
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(error)
            return  # anything else heals by itself; until then the table stays as it is
        key = (message.key() or b"").decode("utf-8", "replace")
        value = message.value()
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = (value, tuple(message.headers() or ()))
        self._changes += 1
        # A topic that is never quiet never comes to its end: what was read counts, not only that nothing is left.
        self._reached = max(self._reached, next_offset(message.offset()))
