"""Every consumed event ends in exactly one outcome; these counters prove it batch by batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import Outcome


class Accounts:
    """Outcome counters of one stream. ``settle`` refuses a batch whose outcomes do not add up."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(Outcome), dtype=np.int64)

    def settle(self, consumed: int, outcomes: NDArray[np.int8], poison: int) -> None:
        """Book ``consumed`` events: ``outcomes`` int8 [n] of the decoded ones, ``poison`` that could not be decoded.

        Raises RuntimeError when they do not add up: an event without an outcome is a lost write, so the worker stops.
        """
        counts = np.bincount(outcomes, minlength=len(Outcome)).astype(np.int64)
        counts[Outcome.DEAD_LETTERED] += poison
        if len(counts) != len(Outcome) or int(counts.sum()) != consumed:
            raise RuntimeError(f"{consumed} events consumed but {int(counts.sum())} outcomes recorded")
        self._counts += counts

    def as_dict(self) -> dict[str, int]:
        """Outcome name → number of events."""
        return {outcome.name.lower(): int(self._counts[outcome]) for outcome in Outcome}
