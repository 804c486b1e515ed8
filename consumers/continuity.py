"""Whether the client handed over all of a partition: what it passed over is read again.

Offsets without a message are normal where a log holds control records or is compacted. Anywhere else a message was lost
on its way here, and accepting later messages would commit past the missing one. So a gap is read once more from its
start: what was lost arrives, and a gap that is there again is the log's own. From then on the gaps of that partition
are believed, for a log of transactions has one behind each of them.

Pure, except that each gap is noted in its partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..log.port import Message, Place
from ..schemas.position import next_offset
from .partition import Owned, Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The messages of one turn, each kind in the order of arrival.

    live         messages of the live topic, with their ``partitions`` and ``offsets``
    riding       messages of snapshot topics
    ends         live place → the offset behind its last message, where that was reached
    passed_over  place → the offset from which it has to be read again; nothing behind it is among the others
    """

    live: list[Message] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    riding: list[Message] = field(default_factory=list)
    ends: dict[Place, int] = field(default_factory=dict)
    passed_over: dict[Place, int] = field(default_factory=dict)


def sort_out(messages: Sequence[Message], owned: Owned, live_topic: str) -> Sorted:
    """Sort ``messages``, as far as they follow each other.

    Left out: what is not owned, what was taken in before, and what lies behind a gap that has to be read again. Notes
    each new gap in its partition, and advances none.
    """
    found = Sorted()
    awaited = {place: partition.next_offset for place, partition in owned.items()}
    for message in messages:
        place = message.topic(), message.partition()
        if place not in awaited:
            continue  # behind a gap, or given up inside the very call that returned it: the next owner reads it
        offset, is_end = message.offset(), message.error() is not None
        if offset != awaited[place]:
            if offset < awaited[place]:
                continue  # the client went back
            if not _is_real(owned[place], awaited[place], offset, is_end=is_end):
                found.passed_over[place] = awaited.pop(place)
                continue
        awaited[place] = offset if is_end else next_offset(offset)
        if place[0] != live_topic:
            if not is_end:
                found.riding.append(message)
        elif is_end:
            found.ends[place] = offset
        else:
            found.live.append(message)
            found.partitions.append(place[1])
            found.offsets.append(offset)
    return found


def _is_real(partition: Partition, first: int, behind: int, *, is_end: bool) -> bool:
    """Whether the log holds nothing from ``first`` to ``behind``, as far as is known by now."""
    if partition.gap is not None and partition.gap[0] == first:
        # An end moves on with each control record; a message stays where it was.
        again = behind >= partition.gap[1] if is_end else behind == partition.gap[1]
        partition.has_gaps = partition.has_gaps or again
    partition.gap = first, behind
    return partition.has_gaps
