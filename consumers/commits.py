"""Commits the offsets of one worker. Used by the polling thread alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .. import failpoints
from ..log.port import Consumer, Place
from .partition import Owned

_log = logging.getLogger("vecferry.worker")


class Commits:
    """Commits an offset once all events below it have outcomes, and repeats the commit until Kafka has confirmed it.

    A failed commit loses nothing: the next owner reads events again, and the store refuses those that it has. But it
    must be repeated even if the partition stays idle, because retention may pass the older committed offset.
    """

    def __init__(self, collection: str, owned: Owned) -> None:
        self._collection = collection
        self._owned = owned
        self._asked = self._failing = False

    def open(self) -> dict[Place, int]:
        """The offsets that may be committed and are not confirmed."""
        return {
            place: partition.finished
            for place, partition in self._owned.items()
            if partition.finished is not None and partition.finished != partition.committed
        }

    def send(self, consumer: Consumer, *, wait_for_it: bool) -> bool:
        """Commit the open offsets; True if none are open afterwards.

        With ``wait_for_it`` this blocks for one request. Without, at most one commit is in flight at a time.
        """
        offsets = self.open()
        if not offsets or (self._asked and not wait_for_it):
            return not offsets
        failpoints.hit("worker.before-commit")
        self._asked = True
        consumer.commit(offsets, wait=wait_for_it)
        return not self.open()

    def answered(self, failure: str | None, confirmed: Mapping[Place, int]) -> None:
        """The consumer's ``on_commit``: the result of a commit."""
        self._asked = False
        for place, offset in confirmed.items():
            if place in self._owned:
                self._owned[place].committed = offset
        if failure is not None and not self._failing:
            _log.warning("%s: commit failed (%s); it is repeated until it succeeds", self._collection, failure)
        self._failing = failure is not None
