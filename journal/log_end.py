"""Notices that the log went back: that a store has applied more than the live topic holds. Pure.

Kafka gives out again the offsets that it has lost. Each event at one of them would be taken for one that the store has
applied already, so nothing may be published or applied before a new epoch begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import Refused


class LogWentBack(Refused):
    """The live topic ends before what ``store`` has applied; ``applied``: partition → the next offset to apply."""

    def __init__(self, problem: str, store: str, applied: Mapping[int, int]) -> None:
        super().__init__(problem)
        self.store = store
        self.applied = dict(applied)


def start_over(collection: str) -> str:
    """The way out when the live topic can no longer be trusted as the one order of all writes."""
    return (
        "stop publishers and workers, set another `namespace`, raise "
        f"collections.{collection}.epoch by one, empty the target, and run `vecferry enrol {collection}`"
    )


def beyond_the_end(
    collection: str, topic: str, store: str, applied: Mapping[int, int], ends: Sequence[int]
) -> LogWentBack | None:
    """What to raise where ``store`` has applied, or its group has committed, beyond ``ends``; None if nowhere."""
    for partition, end in enumerate(ends):
        reached = applied.get(partition, 0)
        if reached > end:
            problem = (
                f"store {store} has applied {topic} [{partition}] up to offset {reached}, and the topic ends at {end}: "
                "Kafka came back with an older copy of its data, and gives offsets out twice; nothing is published or "
                f"applied until a new epoch begins: {start_over(collection)}"
            )
            return LogWentBack(problem, store, applied)
    return None
