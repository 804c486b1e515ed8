"""What the group of one worker may commit, and what it is known to have committed. Used by the polling thread alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .. import failpoints
from .assignment import Place

_log = logging.getLogger("vecferry.worker")


class Commits:
    """Offsets behind outcomes, committed until Kafka has confirmed them.

    A commit that fails is not fatal: the store knows better, events are read again. But a partition may stay idle, and
    retention may pass an offset that nobody repeats.
    """

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._reached: dict[Place, int] = {}
        self._confirmed: dict[Place, int] = {}
        self._asked = self._failing = False

    def note(self, place: Place, offset: int) -> None:
        """``offset`` of ``place`` may be committed."""
        self._reached[place] = offset

    def forget(self, places: set[Place]) -> None:
        """Commit nothing of ``places`` any more."""
        for place in places:
            self._reached.pop(place, None)
            self._confirmed.pop(place, None)

    def open(self) -> dict[Place, int]:
        """What is not confirmed."""
        return {place: offset for place, offset in self._reached.items() if self._confirmed.get(place) != offset}

    def send(self, consumer: Consumer, *, wait_for_it: bool) -> bool:
        """Commit what is open; True when nothing is. Without ``wait_for_it`` one commit at a time is under way.

        Blocks for a request if ``wait_for_it``.
        """
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self.open().items()]
        if not offsets or (self._asked and not wait_for_it):
            return not offsets
        failpoints.hit("worker.before-commit")
        try:
            if wait_for_it:
                self.answered(None, consumer.commit(offsets=offsets, asynchronous=False))
            else:
                self._asked = True
                consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self.answered(error.args[0], ())
        return not self.open()

    def answered(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """The client's ``on_commit``: what became of a commit."""
        self._asked = False
        for entry in partitions if error is None else ():
            if entry.error is not None:
                error = entry.error
            elif (entry.topic, entry.partition) in self._reached:
                self._confirmed[entry.topic, entry.partition] = entry.offset
        if error is not None and not self._failing:
            _log.warning("%s: commit failed (%s); it is repeated until it succeeds", self._collection, error)
        self._failing = error is not None
