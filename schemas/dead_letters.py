"""Where a dead letter comes from, as the key of its record in the dead-letter topic.

The topic is compacted and keyed by origin, so that a redelivered poison record is one letter, and an unresolved letter
never expires. A null value under the same key resolves it. The value is the original bytes (for a row of a snapshot
block: a block of that row alone; of a record that the topic does not take whole, the beginning), the key of the
original record and everything else travel as headers.
"""

from __future__ import annotations

from dataclasses import dataclass

CUT = "vecferry.cut"  # the header of a letter whose value was too large: how many bytes it had; empty for a whole one


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """``store`` could not take the record at ``offset``; ``row`` is the row inside a snapshot block, 0 otherwise."""

    store: str
    topic: str
    partition: int
    offset: int
    row: int = 0

    def key(self) -> str:
        """The record key."""
        return f"{self.store}/{self.topic}/{self.partition}/{self.offset}/{self.row}"


def parse_origin(key: str) -> Origin:
    """The inverse of :meth:`Origin.key`; raises ValueError."""
    store, topic, partition, offset, row = key.split("/")
    return Origin(store=store, topic=topic, partition=int(partition), offset=int(offset), row=int(row))


def oldest_offsets(keys: list[str], store: str, topic: str) -> dict[int, int]:
    """Per partition of ``topic``, the lowest offset among the unresolved letters (``keys``) of ``store``."""
    oldest: dict[int, int] = {}
    for origin in map(parse_origin, keys):
        if (origin.store, origin.topic) == (store, topic):
            oldest[origin.partition] = min(origin.offset, oldest.get(origin.partition, origin.offset))
    return oldest
