"""One consumer and one thread that read any number of places for several readers, outside of any group."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ...config import KafkaSection
from ...errors import Unavailable
from ..port import Message, Place, TopicAbsent
from .clients import REQUEST_TIMEOUT_S, consumer_config, made
from .errors import contact_of, unavailable

# The client accepts no other call during a poll, so a caller of ``read`` or ``leave`` may wait this long.
_POLL_S = 0.02
_BATCH = 1_000
_LEARN_S = 1.0
_SETTINGS = {
    "enable.partition.eof": True,
    # Readers start at offset 0, or at the beginning if that is gone. Asking for the beginning costs a new client 0.5 s.
    "auto.offset.reset": "earliest",
}


class Reader(Protocol):
    """Receives the records of its places. The thread calls both methods; they must not block."""

    def take(self, messages: Sequence[Message]) -> None:
        """Records and ends of partitions of one place, in order."""
        ...

    def fail(self, failure: Unavailable) -> None:
        """Nothing more comes."""
        ...


class Following:
    """Reads places until ``leave``; thread-safe. The first ``read`` creates the client.

    A place has one reader at a time. While Kafka is away nothing is read. When a topic is deleted, only its reader
    fails.
    """

    def __init__(self, kafka: KafkaSection) -> None:
        self._kafka = kafka
        self._contact = contact_of(kafka)
        self._changed = threading.Condition()
        self._readers: dict[Place, Reader] = {}
        self._joining: dict[Place, int] = {}
        self._leaving: set[Place] = set()
        self._consumer: Consumer | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def read(self, starts: Mapping[Place, int], reader: Reader) -> None:
        """Pass the records of these places, from these offsets on, to ``reader``. Raises Unavailable once closed.

        Blocks only while a place is still being left by its reader before: at most for one poll.
        """
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or not self._readers.keys() & starts.keys(), REQUEST_TIMEOUT_S
            )
            if self._closed:
                raise Unavailable("this log is closed; open another one")
            if not free:
                raise Unavailable(f"{next(iter(starts))[0]} is being read by somebody else of this process")
            self._readers.update(dict.fromkeys(starts, reader))
            self._joining.update(starts)
            if self._consumer is None:
                self._start()

    def leave(self, places: set[Place]) -> None:
        """Read these places no more; idempotent. Does not block.

        Whoever asks for one of them again must not be given what was polled for the reader before.
        """
        with self._changed:
            self._leaving |= places & self._readers.keys()

    def close(self) -> None:
        """Stop the thread and leave; idempotent. Readers are told nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _start(self) -> None:
        # The group is never joined and nothing is committed; the client wants a name.
        config: dict[str, Any] = consumer_config(self._kafka, "vecferry-view")
        self._consumer = made(Consumer, {**config, **_SETTINGS})
        self._thread = threading.Thread(target=self._run, args=(self._consumer,), name="vecferry-tables", daemon=True)
        self._thread.start()

    def _run(self, consumer: Consumer) -> None:
        try:
            while not self._closed:
                self._change(consumer)
                first = consumer.poll(_POLL_S)
                if first is None:
                    continue
                # With a time-out the client would wait for all _BATCH messages; without, it returns those that it has.
                self._hand_out([first, *consumer.consume(num_messages=_BATCH, timeout=0)])
        except KafkaException as error:
            with self._changed:
                readers = set(self._readers.values())
                self._readers.clear()
                self._joining.clear()
                self._leaving.clear()
                self._consumer = None  # the next ``read`` creates another one
                self._changed.notify_all()
            for reader in readers:
                reader.fail(unavailable(self._kafka, error))
            consumer.close()

    def _change(self, consumer: Consumer) -> None:
        """Begin and end the reading of places, as callers asked; called when all polled messages are handed out."""
        for topic in self._joining_topics():
            # Without this call a client that is reading other topics asks for the leader of a new one after a second.
            with suppress(KafkaException):
                consumer.list_topics(topic, timeout=_LEARN_S)
        with self._changed:
            if self._joining:
                consumer.incremental_assign([TopicPartition(*place, at) for place, at in self._joining.items()])
                self._joining.clear()
            if self._leaving:
                consumer.incremental_unassign([TopicPartition(*place) for place in self._leaving])
                for place in self._leaving:
                    del self._readers[place]
                self._leaving.clear()
                self._changed.notify_all()

    def _joining_topics(self) -> set[str]:
        with self._changed:
            return {topic for topic, _ in self._joining}

    def _hand_out(self, messages: Sequence[Any]) -> None:
        by_place: dict[Place, list[Any]] = {}
        for message in messages:
            by_place.setdefault((message.topic(), message.partition()), []).append(message)
        for place, found in by_place.items():
            with self._changed:
                reader = self._readers.get(place)
            if reader is None:
                continue
            content = [message for message in found if _is_content(message)]
            if content:
                self._contact.answered()
            reader.take(content)
            if any(_is_absent(message) for message in found):
                self.leave({place})
                reader.fail(TopicAbsent(f"topic {place[0]} is not there any more"))


def _is_content(message: Any) -> bool:
    """Whether this is a record or the end of a partition. The client recovers from any other error."""
    return message.error() is None or message.error().code() == KafkaError._PARTITION_EOF


def _is_absent(message: Any) -> bool:
    return message.error() is not None and message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART
