"""Applies one batch: retries failures that may pass, isolates rows that the store rejects. Blocks; for one thread."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..clock import Clock
from ..errors import Overloaded, Rejected, Transient, Unavailable, VecferryError
from ..schemas.batch import Applied, EventBatch, LiveMark, Mark, Outcome
from ..stores.base import Store, gap
from .complaints import Complaints
from .conflation import UNDECIDED, Folded, conflate, unfold
from .pieces import pieces

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


class Abandoned(VecferryError):
    """The worker was told to stop while the store was failing; nothing of the batch may be committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """``outcomes`` int8 [n] for the n events given; ``rejected``: row → why the store can never take it."""

    outcomes: NDArray[np.int8]
    rejected: dict[int, str]


class Applier:
    """Applies batches to one store.

    ``stopping`` is called between tries; if it returns True while the store fails, Abandoned is raised.
    """

    def __init__(self, store: Store, dimension: int, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._nothing = EventBatch(
            ids=[],
            ops=np.empty(0, np.int8),
            partitions=np.empty(0, np.int32),
            positions=np.empty(0, np.int64),
            vectors=np.empty((0, dimension), np.float32),
            metadata=[],
        )
        self._clock = clock
        self._stopping = stopping
        self._reached: dict[int, int] = {}  # live partition -> the highest mark that the store has acknowledged
        self._random = random.Random()
        self._complaints = Complaints(clock)

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> Result:
        """Fold, apply, and write ``marks`` in the same step when nothing was rejected.

        A batch that is larger than the store takes goes in pieces, the marks with the last one.

        When ``rejected`` is not empty the marks are **not** written: post the letters first, then call ``mark``.
        Raises Abandoned, Fatal, and whatever else the store raises.
        """
        folded = conflate(batch)
        outcomes = folded.outcomes.copy()
        rejected: dict[int, str] = {}
        parts = pieces(folded.batch, self._store.capabilities)
        for rows in parts:
            last = rows is parts[-1]
            part = folded.batch if len(parts) == 1 else folded.batch.take(rows)
            try:
                outcomes[folded.kept[rows]] = self._persist(part, marks if last and not rejected else ())
            except Rejected as error:
                self._bisect(folded, rows, str(error), outcomes, rejected, batch)
                if last and not rejected:
                    self.mark(marks)
        return Result(outcomes=outcomes, rejected=rejected)

    def mark(self, marks: Sequence[Mark]) -> None:
        """Write ``marks`` alone."""
        if marks:
            self._persist(self._nothing, marks)

    def _bisect(
        self,
        folded: Folded,
        rows: NDArray[np.intp],
        reason: str,
        outcomes: NDArray[np.int8],
        rejected: dict[int, str],
        batch: EventBatch,
    ) -> None:
        """Apply ``rows``, which were rejected together, in halves until each rejected row is alone."""
        if len(rows) == 1:
            self._unfold(folded, int(folded.kept[rows[0]]), reason, outcomes, rejected, batch)
            return
        for half in np.array_split(rows, 2):
            try:
                outcomes[folded.kept[half]] = self._persist(folded.batch.take(half), ())
            except Rejected as error:
                self._bisect(folded, half, str(error), outcomes, rejected, batch)

    def _unfold(
        self,
        folded: Folded,
        row: int,
        reason: str,
        outcomes: NDArray[np.int8],
        rejected: dict[int, str],
        batch: EventBatch,
    ) -> None:
        """``row`` was rejected alone: try the older events of its id that were folded into it, newest first."""
        candidate: int | None = row
        while candidate is not None:
            outcomes[candidate] = Outcome.DEAD_LETTERED
            rejected[candidate] = reason
            candidate = unfold(folded, candidate)
            if candidate is not None:
                try:
                    outcomes[candidate] = self._persist(batch.take(np.array([candidate])), ())[0]
                except Rejected as error:
                    reason = str(error)
                else:
                    return

    def applied(self) -> Applied:
        """The store's marks; raises Fatal if they are below what the store had acknowledged."""
        found = self._retry(self._store.applied)
        for partition, reached in self._reached.items():
            applied = found.live.get(partition, 0)
            if applied < reached:
                raise gap(LiveMark(partition=partition, next_offset=reached, known=reached), applied)
        self._reached |= found.live
        return found

    def _persist(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        # A second try may reach a restored store, or a server that lacks the last writes. Its guard protects the rows,
        # and it refuses a mark that covers more than it has.
        outcomes = self._retry(lambda: self._store.apply(batch, marks))
        if len(outcomes) != len(batch) or (outcomes == UNDECIDED).any():
            raise RuntimeError(f"the store gave {len(outcomes)} outcomes for {len(batch)} events")
        for mark in marks:
            if isinstance(mark, LiveMark):
                self._reached[mark.partition] = max(mark.next_offset, self._reached.get(mark.partition, 0))
        return outcomes

    def _retry(self, call: Callable[[], T]) -> T:
        """``call`` until the store answers, with backoff and jitter while the failure may pass."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answer = call()
                self._complaints.answered()
                return answer
            except (Transient, Unavailable) as error:
                wait_s, cause = pause_s * self._random.uniform(0.5, 1.5), str(error)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            except Overloaded as error:
                wait_s, cause = error.retry_after_s, str(error)
            self._complaints.failed(cause, wait_s)
            self._wait(wait_s, cause)

    def _wait(self, seconds: float, cause: str) -> None:
        until = self._clock.monotonic_s() + seconds
        while (left := until - self._clock.monotonic_s()) > 0:
            if self._stopping():
                raise Abandoned(f"stopped while the store was failing: {cause}")
            self._clock.sleep_s(min(left, 0.1))
