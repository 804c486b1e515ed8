"""What the group of one worker may commit, and what Kafka has confirmed. Used by the polling thread alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .. import failpoints
from ..log.port import Consumer, Place
from .partition import Owned

_log = logging.getLogger("vecferry.worker")


class Commits:
    """Commits offsets behind outcomes, and repeats each commit until Kafka has confirmed it.

    A commit that fails is not fatal: the store knows better, events are read again. But a partition may stay idle, and
    retention may pass an offset that nobody repeats.
    """

    def __init__(self, collection: str, owned: Owned) -> None:
        self._collection = collection
        self._owned = owned
        self._asked = self._failing = False

    def open(self) -> dict[Place, int]:
        """What is not confirmed."""
        return {
            place: partition.finished
            for place, partition in self._owned.items()
            if partition.finished is not None and partition.finished != partition.committed
        }

    def send(self, consumer: Consumer, *, wait_for_it: bool) -> bool:
        """Commit what is open; True when nothing is. Without ``wait_for_it`` one commit at a time is under way.

        Blocks for a request if ``wait_for_it``.
        """
        offsets = self.open()
        if not offsets or (self._asked and not wait_for_it):
            return not offsets
        failpoints.hit("worker.before-commit")
        self._asked = True
        consumer.commit(offsets, wait=wait_for_it)
        return not self.open()

    def answered(self, failure: str | None, confirmed: Mapping[Place, int]) -> None:
        """The consumer's ``on_commit``: what became of a commit."""
        self._asked = False
        for place, offset in confirmed.items():
            if place in self._owned:
                self._owned[place].committed = offset
        if failure is not None and not self._failing:
            _log.warning("%s: commit failed (%s); it is repeated until it succeeds", self._collection, failure)
        self._failing = failure is not None
