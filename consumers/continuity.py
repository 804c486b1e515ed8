"""Checks that the client delivers every offset of a partition, and has skipped ones read again.

A log that holds control records, or is compacted, has offsets without a message. In any other log a missing offset is a
message that the client lost, and accepting later messages would commit past the missing one. So the worker reads a gap
once more from its start. A lost message then arrives. A gap that is still there is the log's own; from then on gaps of
that partition are accepted, because a log of transactions has one after each transaction.

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
    snapshot     messages of snapshot topics
    ends         partition of the live topic → its end offset, if the client reported it
    passed_over  partition of a topic → the offset to read again from; no message at or above it is in the other fields
    """

    live: list[Message] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    snapshot: list[Message] = field(default_factory=list)
    ends: dict[Place, int] = field(default_factory=dict)
    passed_over: dict[Place, int] = field(default_factory=dict)


def sort_out(messages: Sequence[Message], owned: Owned, live_topic: str) -> Sorted:
    """Sort ``messages`` by kind, up to the first gap in each partition.

    Leaves out messages of partitions that are not owned, messages that an earlier turn had, and messages after a gap
    that has to be read again. Notes each new gap in its partition, and advances no partition.
    """
    found = Sorted()
    awaited = {place: partition.next_offset for place, partition in owned.items()}
    for message in messages:
        place = message.topic(), message.partition()
        if place not in awaited:
            continue  # after a gap, or revoked during the call that returned it: the next owner reads it
        offset, is_end = message.offset(), message.error() is not None
        if offset != awaited[place]:
            if offset < awaited[place]:
                continue  # the client delivers it again
            if not _is_real(owned[place], awaited[place], offset, is_end=is_end):
                found.passed_over[place] = awaited.pop(place)
                continue
        awaited[place] = offset if is_end else next_offset(offset)
        if place[0] != live_topic:
            if not is_end:
                found.snapshot.append(message)
        elif is_end:
            found.ends[place] = offset
        else:
            found.live.append(message)
            found.partitions.append(place[1])
            found.offsets.append(offset)
    return found


def _is_real(partition: Partition, first: int, found: int, *, is_end: bool) -> bool:
    """Whether the log itself has no message in [first, found), as far as the worker knows."""
    if partition.gap is not None and partition.gap[0] == first:
        # The end moves with each control record; a message keeps its offset.
        again = found >= partition.gap[1] if is_end else found == partition.gap[1]
        partition.has_gaps = partition.has_gaps or again
    partition.gap = first, found
    return partition.has_gaps
