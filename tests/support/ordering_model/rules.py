"""The rules under check: vecferry's own functions, and the few protocol choices that are not a function.

``REAL`` is what the package does. A mutation is a copy of it with one thing wrong (``mutations.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from vecferry.backfill import fence
from vecferry.consumers import ordering
from vecferry.consumers.conflation import conflate, unfold
from vecferry.schemas.batch import EventBatch, Op, Outcome

Action = Literal["applied", "letters", "scan"]


class Guard(Enum):
    """How a store keeps an older event out when two writers of an id race."""

    ATOMIC = "guard, ledger and row are one step"
    CHECK_THEN_WRITE = "the client compares, then writes blindly"
    ROW_AND_LEDGER_APART = "the ledger is looked up first, the row is guarded by itself"


class Stamp(Enum):
    """The position that a source row without one gets when it is copied."""

    BASE = "older than every event"
    TOPIC_END = "as new as the last event published"
    FENCE = "as new as the last event below the fence"


class Kind(Enum):
    """What can go wrong."""

    LOST_UPDATE = "lost update"  # a store has caught up and holds less than the newest event
    GHOST_ROW = "ghost row"  # a deleted id is back
    STALE_OVERWRITE = "stale overwrite"  # a store went back to an older state
    APPLIED_TWICE = "applied twice"  # a redelivered event counted as applied again
    STUCK = "stuck"  # nothing is left to do, and a store has still not caught up


def tried_in_order(batch: EventBatch) -> list[int]:
    """The rows of a batch of one id in the order in which a worker offers them, until the store takes one."""
    folded = conflate(batch)
    row: int | None = int(folded.kept[0])
    tried = []
    while row is not None:
        tried.append(row)
        row = unfold(folded, row)
    return tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``chunk_order``: what a backfill reads, in order: the source's applied mark, its dead letters, the row.

    ``live_start`` maps (fence, end of the live topic) to where the live group of a further store starts.
    """

    decide: Callable[[ordering.State, Op, int], tuple[Outcome, ordering.State]] = ordering.decide
    resume_offset: Callable[[int | None, int | None], int | None] = ordering.resume_offset
    fence_offset: Callable[[int, int | None], int] = fence.fence_offset
    may_read_run: Callable[[int, int], bool] = fence.may_read_run
    tried_in_order: Callable[[EventBatch], list[int]] = tried_in_order
    live_start: Callable[[int, int], int] = lambda fence, end: fence
    guard: Guard = Guard.ATOMIC
    stamp: Stamp = Stamp.BASE
    chunk_order: tuple[Action, ...] = ("applied", "letters", "scan")
    keeps_lower_fence: bool = True  # when a chunk is scanned again
    marks_after_write: bool = True
    topic_compacted: bool = False
    tombstones_collected: bool = False


REAL = Rules()
