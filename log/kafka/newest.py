"""The newest records of a topic, read by the one consumer of :class:`Following`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import Unavailable
from ...schemas.position import next_offset
from ..port import Message, Offsets
from .clients import REQUEST_TIMEOUT_S
from .following import Following


class _Collected:
    """Takes records until every partition was read to its end as given."""

    def __init__(self, ends: Mapping[int, int]) -> None:
        self.messages: list[Message] = []
        self.failure: Unavailable | None = None
        self.done = threading.Event()
        self._ends = ends
        self._waiting = set(ends)

    def take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._take(message)
        if not self._waiting:
            self.done.set()

    def fail(self, failure: Unavailable) -> None:
        self.failure = failure
        self.done.set()

    def _take(self, message: Any) -> None:
        partition, offset, is_record = message.partition(), message.offset(), message.error() is None
        if is_record and offset < self._ends[partition]:
            self.messages.append(message)
        # The end of a partition may be a control record, which is never delivered: its EOF event tells.
        if not is_record or next_offset(offset) >= self._ends[partition]:
            self._waiting.discard(partition)


def read_newest(following: Following, topic: str, offsets: Offsets, per_partition: int) -> list[Message]:
    """The last ``per_partition`` records of each partition below the stable ends; see ``Log.newest``."""
    starts = {
        partition: max(begin, end - per_partition)
        for partition, (begin, end) in enumerate(zip(offsets.begin, offsets.stable, strict=True))
        if end > begin
    }
    if not starts:
        return []
    collected = _Collected({partition: offsets.stable[partition] for partition in starts})
    following.read({(topic, partition): start for partition, start in starts.items()}, collected)
    try:
        if not collected.done.wait(REQUEST_TIMEOUT_S):
            raise Unavailable(f"topic {topic} could not be read to its end within {REQUEST_TIMEOUT_S:g} s")
    finally:
        following.leave({(topic, partition) for partition in starts})
    if collected.failure is not None:
        raise collected.failure
    return collected.messages
