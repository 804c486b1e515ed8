"""Noting the fences of a chunk: the source's marks first, its dead letters second, the scan third."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Refused
from ..schemas.dead_letters import oldest_offsets
from ..wording import partitions
from .context import RunContext
from .fence import fence_offset


def note_fences(context: RunContext) -> tuple[int, ...]:
    """One fence per partition, for a scan that starts after this call. Blocks; uses the source.

    A dead letter is acknowledged before the source's mark passes it. So the marks are read first: in the other order
    a letter could appear in between and lie below the fence, unseen.
    """
    return fences_at(context, context.source.applied().live)


def fences_at(context: RunContext, live: Mapping[int, int]) -> tuple[int, ...]:
    """The second half of :func:`note_fences`: fences at marks ``live`` that the source had before. Blocks."""
    context.dead_letters.sync()
    letters = list(context.dead_letters.items(f"{context.source_name}/{context.live_topic}/"))
    oldest = oldest_offsets(letters, context.source_name, context.live_topic)
    missing = [partition for partition in range(context.resolved.partitions) if partition not in live]
    if missing:
        raise Refused(
            f"store {context.source_name} has no mark for {partitions(missing)}; "
            f"run `vecferry enrol {context.collection}`"
        )
    return tuple(
        fence_offset(live[partition], oldest.get(partition)) for partition in range(context.resolved.partitions)
    )
