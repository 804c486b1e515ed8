"""Noting the fences of a chunk: the source's marks first, its dead letters second, the scan third."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Refused
from ..schemas.dead_letters import oldest_offsets
from ..wording import partitions
from .context import Context, Mover
from .fence import fence_offset


def note_fences(mover: Mover) -> tuple[int, ...]:
    """One fence per partition, for a scan that starts after this call. Blocks; uses the source.

    A dead letter is acknowledged before the source's mark passes it. So the marks are read first: in the other order
    a letter could appear in between and lie below the fence, unseen.
    """
    return fences_at(mover.context, mover.source.applied().live)


def fences_at(context: Context, live: Mapping[int, int]) -> tuple[int, ...]:
    """The second half of :func:`note_fences`: fences at marks ``live`` that the source had before. Blocks."""
    context.letters.sync()
    letters = list(context.letters.items(f"{context.source}/{context.events}/"))
    oldest = oldest_offsets(letters, context.source, context.events)
    missing = [partition for partition in range(context.collection.partitions) if partition not in live]
    if missing:
        raise Refused(
            f"store {context.source} has no mark for {partitions(missing)}; run `vecferry enrol {context.name}`"
        )
    return tuple(
        fence_offset(live[partition], oldest.get(partition)) for partition in range(context.collection.partitions)
    )
