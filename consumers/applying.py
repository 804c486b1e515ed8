"""Applies one batch: retries failures that may pass, isolates rows that the store rejects. Blocks; for one thread."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..clock import Clock
from ..errors import Overloaded, Oversized, Rejected, Transient, Unavailable, VecferryError
from ..schemas.batch import Applied, EventBatch, LiveMark, Mark, Outcome
from ..stores.base import Store, gap
from .complaints import Complaints
from .conflation import UNDECIDED, Folded, conflate, unfold
from .pieces import RowLimit, pieces

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0

_SLOW_S = 1.0
_SLOW_FAILURES = 3


class Abandoned(VecferryError):
    """The worker was told to stop while the store was failing; nothing of the batch may be committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """``outcomes`` int8 [n] for the n events given; ``rejected``: row → why the store can never take it."""

    outcomes: NDArray[np.int8]
    rejected: dict[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A batch on its way into the store, and what has become of its rows so far."""

    batch: EventBatch
    folded: Folded
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
        self._limit = RowLimit()
        self._complaints = Complaints(clock)

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> Result:
        """Fold, apply, and write ``marks`` in the same step when nothing was rejected.

        A batch that is larger than the store takes goes in pieces, the marks with the last one; so does one that runs
        into a limit of the server, and then the next ones are cut beforehand.

        When ``rejected`` is not empty the marks are **not** written: post the letters first, then call ``mark``.
        Raises Abandoned, Fatal, and whatever else the store raises.
        """
        folded = conflate(batch)
        task = _Task(batch=batch, folded=folded, outcomes=folded.outcomes.copy(), rejected={})
        todo = deque(pieces(folded.batch, self._store.capabilities))
        while todo:
            rows, rest = self._limit.cut(todo.popleft())
            if len(rest):
                todo.appendleft(rest)
            todo.extendleft(reversed(self._bring(task, rows, () if todo or task.rejected else marks)))
        return Result(outcomes=task.outcomes, rejected=task.rejected)

    def mark(self, marks: Sequence[Mark]) -> None:
        """Write ``marks`` alone."""
        if marks:
            self._persist(self._nothing, marks)

    def _bring(self, task: _Task, rows: NDArray[np.intp], marks: Sequence[Mark]) -> list[NDArray[np.intp]]:
        """Apply ``rows``. Returns what is still to be applied of them: halves of what was rejected, or was too much."""
        folded = task.folded
        part = folded.batch if len(rows) == len(folded.batch) else folded.batch.take(rows)
        try:
            task.outcomes[folded.kept[rows]] = self._persist(part, marks)
        except Oversized as error:
            self._complaints.too_much(len(rows), str(error), self._limit.exceeded(len(rows)))
            return [rows]
        except Rejected as error:
            if len(rows) > 1:
                return np.array_split(rows, 2)
            self._unfold(task, int(folded.kept[rows[0]]), str(error))
            return []
        self._limit.met(len(rows))
        return []

    def _unfold(self, task: _Task, row: int, reason: str) -> None:
        """``row`` was rejected alone: try the older events of its id that were folded into it, newest first."""
        candidate: int | None = row
        while candidate is not None:
            task.outcomes[candidate] = Outcome.DEAD_LETTERED
            task.rejected[candidate] = reason
            candidate = unfold(task.folded, candidate)
            if candidate is not None:
                try:
                    task.outcomes[candidate] = self._persist(task.batch.take(np.array([candidate])), ())[0]
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
        outcomes = self._retry(lambda: self._store.apply(batch, marks), may_be_cut=len(batch) > 1)
        if len(outcomes) != len(batch) or (outcomes == UNDECIDED).any():
            raise RuntimeError(f"the store gave {len(outcomes)} outcomes for {len(batch)} events")
        for mark in marks:
            if isinstance(mark, LiveMark):
                self._reached[mark.partition] = max(mark.next_offset, self._reached.get(mark.partition, 0))
        return outcomes

    def _retry(self, call: Callable[[], T], *, may_be_cut: bool = False) -> T:
        """``call`` until the store answers, with backoff and jitter while the failure may pass.

        Raises Oversized if less may be asked for: after several slow failures too, because a pooler or a gateway with a
        time limit only closes the connection. One event alone waits: that a server is short of time or memory is no
        fault of the event.
        """
        pause_s, slow_failures = _FIRST_PAUSE_S, 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                answer = call()
                self._complaints.answered()
                return answer
            except (Transient, Unavailable) as error:
                slow_failures += self._clock.monotonic_s() - began_s >= _SLOW_S
                if may_be_cut and isinstance(error, Oversized):
                    raise
                if may_be_cut and slow_failures == _SLOW_FAILURES:
                    raise Oversized(str(error)) from error
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
