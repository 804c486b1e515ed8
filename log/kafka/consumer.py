"""A member of a Kafka consumer group, as the port describes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ...clock import Clock
from ...config import KafkaSection
from ...forks import Home
from ..port import Listener, Message, OffsetGone, OnCommit, Place, TopicAbsent
from .clients import REQUEST_TIMEOUT_S, consumer_config, learn_leaders, made
from .errors import contact_of, reason_of, unavailable

_log = logging.getLogger("vecferry.worker")

# One request at a time waits with a broker: a run that has just appeared is read once the one before it is answered.
_DEFAULTS = {"fetch.wait.max.ms": 30}
_COORDINATOR_PATIENCE_S = 60.0
_COORDINATOR_PAUSE_S = 0.2
_LEADER_PATIENCE_S = 1.0

# The client recovers from these by itself: it reconnects, and returns nothing until then.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)


_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE})


class KafkaConsumer:
    """See :class:`~vecferry.log.port.Consumer`."""

    def __init__(self, kafka: KafkaSection, group: str, on_commit: OnCommit, clock: Clock) -> None:
        self._kafka = kafka
        self._group = group
        self._on_commit = on_commit
        self._clock = clock
        settings = {"enable.partition.eof": True, "on_commit": self._answered}
        self._home = Home(f"this member of group {group}", self)
        self._client = made(Consumer, {**consumer_config(kafka, group, _DEFAULTS), **settings})
        self._topics: set[str] = set()  # whose leaders the client knows
        self._failure: BaseException | None = None
        self._left = False
        self._contact = contact_of(kafka)

    def subscribe(self, topic: str, listener: Listener) -> None:
        def on_assign(client: Consumer, partitions: list[TopicPartition]) -> None:
            client.incremental_assign([])  # without this call the client starts at the group's committed offsets
            self._tell(listener.assigned, partitions)

        def on_revoke(client: Consumer, partitions: list[TopicPartition]) -> None:
            self._take_away(listener.revoked, partitions)

        def on_lost(client: Consumer, partitions: list[TopicPartition]) -> None:
            self._take_away(listener.lost, partitions)

        self._home.check()
        self._topics.add(topic)
        with self._explained():
            self._client.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def poll(self, timeout_s: float) -> Message | None:
        message = self._ask(lambda: self._client.poll(timeout_s))
        return None if message is None else next(iter(self._good([message])), None)

    def consume(self, limit: int, timeout_s: float) -> list[Message]:
        messages = self._ask(lambda: self._client.consume(limit, timeout_s))
        return self._good(messages)

    def read(self, starts: Mapping[Place, int]) -> None:
        self._home.check()
        for topic in {place[0] for place in starts} - self._topics:
            self._topics.add(topic)
            with suppress(KafkaException):
                learn_leaders(self._client, topic, clock=self._clock, timeout_s=_LEADER_PATIENCE_S)
        entries = [TopicPartition(*place, offset) for place, offset in starts.items()]
        with self._explained():
            self._client.incremental_assign(entries)
            self._client.resume(entries)  # the client remembers a pause from an earlier assignment

    def leave(self, places: set[Place]) -> None:
        self._home.check()
        self._left = True
        with self._explained():
            self._client.incremental_unassign(_entries(places))

    def seek(self, place: Place, offset: int) -> None:
        with self._explained():
            self._client.seek(TopicPartition(*place, offset))

    def pause(self, places: set[Place]) -> None:
        with self._explained():
            self._client.pause(_entries(places))

    def resume(self, places: set[Place]) -> None:
        with self._explained():
            self._client.resume(_entries(places))

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        """See the port. Waits for a coordinator that is starting."""
        self._home.check()
        deadline_s = self._clock.monotonic_s() + _COORDINATOR_PATIENCE_S
        said: int | None = None
        while True:
            try:
                answer = self._client.committed(_entries(places), timeout=REQUEST_TIMEOUT_S)
                failed = [entry.error for entry in answer if entry.error is not None]
                if not failed:
                    self._contact.answered()
                    return {(entry.topic, entry.partition): entry.offset for entry in answer if entry.offset >= 0}
                error = failed[0]
            except KafkaException as exception:
                error = reason_of(exception)
            if self._clock.monotonic_s() > deadline_s:
                raise unavailable(self._kafka, error)
            if error.code() != said:
                said = error.code()
                _log.info("%s: committed offsets are not known yet (%s)", self._group, error)
            self._clock.sleep_s(_COORDINATOR_PAUSE_S)

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        self._home.check()
        entries = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        try:
            if wait:
                self._answered(None, self._client.commit(offsets=entries, asynchronous=False))
            else:
                self._client.commit(offsets=entries, asynchronous=True)
        except KafkaException as error:
            self._answered(reason_of(error), ())

    def seen_end(self, place: Place) -> int | None:
        try:
            _, high = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            return None  # its topic is gone; what is polled says so
        return high if high >= 0 else None

    def close(self) -> None:
        if not self._home.left:  # its threads, for which closing would wait, are in the parent
            self._client.close()

    def _answered(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        confirmed: dict[Place, int] = {}
        for entry in partitions if error is None else ():
            if entry.error is not None:
                error = entry.error
            else:
                confirmed[entry.topic, entry.partition] = entry.offset
        self._on_commit(None if error is None else str(error), confirmed)

    def _tell(self, callback: Callable[[list[int]], None], partitions: Sequence[TopicPartition]) -> None:
        try:
            callback([entry.partition for entry in partitions])
        except BaseException as error:  # noqa: BLE001  a callback cannot raise; the call that it came from does
            self._failure = error

    def _take_away(self, callback: Callable[[list[int]], None], partitions: Sequence[TopicPartition]) -> None:
        self._left = False
        self._tell(callback, partitions)
        if not self._left:
            self._client.incremental_unassign(
                []
            )  # without this call the client also stops reading partitions that we keep

    def _ask(self, call: Callable[[], Any]) -> Any:
        self._home.check()
        with self._explained():
            answer = call()
        self._raise_failure()
        return answer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            self._raise_failure()  # the error of a callback is the cause of the client's own
            raise unavailable(self._kafka, error) from error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _good(self, messages: Sequence[Message]) -> list[Message]:
        good = [message for message in messages if self._is_good(message)]
        if good:
            self._contact.answered()
        return good

    def _is_good(self, message: Message) -> bool:
        """Whether it is a message or the end of a partition. Raises for what does not pass."""
        error = message.error()
        if not isinstance(error, KafkaError) or error.code() == KafkaError._PARTITION_EOF:
            return True
        place = (message.topic(), message.partition())
        if error.code() in _GONE:
            raise OffsetGone(place, error.str())
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicAbsent(f"topic {place[0]} does not exist")
        if error.fatal() or (error.code() not in _PASSING and not error.retriable()):
            failure = unavailable(self._kafka, error)
            raise type(failure)(f"{place[0]} [{place[1]}]: {failure}")
        self._contact.failed(error)
        return False


def _entries(places: Sequence[Place] | set[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]
