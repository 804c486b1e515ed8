"""Notices that the log went back: that a store has applied more than the live topic holds. Pure.

Kafka gives out again the offsets that it has lost. Each event at one of them would be taken for one that the store has
applied already, so nothing may be published or applied before a new epoch begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import Refused


class LogWentBack(Refused):
    """The live topic ends before what a store has applied; ``applied``: partition → the next offset to apply."""

    def __init__(self, problem: str, remedy: str, applied: Mapping[int, int]) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.applied = dict(applied)


def start_over(collection: str) -> str:
    """The way out when the live topic can no longer be trusted as the one order of all writes."""
    return (
        "stop publishers and workers, set another `namespace`, raise "
        f"collections.{collection}.epoch by one, give the target an empty table "
        f"(collections.{collection}.in.TARGET.table), and run `vecferry enrol {collection}`; the old one keeps its rows"
    )


def beyond_the_end(
    collection: str, topic: str, who: str, reached: Mapping[int, int], ends: Sequence[int]
) -> LogWentBack | None:
    """What to raise where ``who`` (``store old has applied``) has ``reached`` more than there is; None if nowhere.

    ``reached`` and ``ends``: next offsets by partition. ``ends`` must have been asked for after ``reached`` was known.
    """
    for partition, end in enumerate(ends):
        if reached.get(partition, 0) > end:
            problem = (
                f"{who} {topic} [{partition}] up to offset {reached[partition]}, and the topic ends at {end}: "
                "Kafka came back with an older copy of its data, and gives offsets out twice"
            )
            remedy = f"nothing is published or applied until a new epoch begins: {start_over(collection)}"
            return LogWentBack(problem, remedy, reached)
    return None
