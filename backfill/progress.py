"""How far a long job is, as a value that the command line renders. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a copy, of the wait for a store, or of a verification.

    phase        what is being done, in words
    chunks_done, chunks   0 of 0 where the job has no chunks
    rows         rows done so far
    percent      0 to 100 of the rows that were estimated; 100 only when the job is done
    rows_per_s   over the last ten seconds; 0.0 when nothing is known
    eta_s        seconds to go at that rate, None when unknown
    throttled    why the job is waiting on purpose, None when it is not
    note         something the operator should know (a store without a worker), or ""
    """

    phase: str
    chunks_done: int = 0
    chunks: int = 0
    rows: int = 0
    percent: float = 0.0
    rows_per_s: float = 0.0
    eta_s: float | None = None
    throttled: str | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]


class RateMeter:
    """Rows per second over a sliding window. Time is given, never read."""

    def __init__(self, now_s: float, rows: int = 0) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now_s, rows)])

    def rows_per_s(self, now_s: float, rows: int) -> float:
        """The rate up to now, with ``rows`` done in total since the meter began."""
        self._samples.append((now_s, rows))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - _WINDOW_S:
            self._samples.popleft()
        since_s, before = self._samples[0]
        return (rows - before) / (now_s - since_s) if now_s > since_s else 0.0


def share_done(rows: int, estimated_rows: int, rows_per_s: float) -> tuple[float, float | None]:
    """Percent and seconds to go of a job that is not done: an estimate that was too low never reads as 100 %."""
    percent = min(99.9, 100.0 * rows / estimated_rows) if estimated_rows > 0 else 0.0
    left = max(0, estimated_rows - rows)
    return percent, left / rows_per_s if rows_per_s > 0 else None
