"""When a copy waits on purpose, and for what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A worker publishes its progress at least every second; one that was silent for so long is not running.
SILENT_WORKER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Above these a copy waits. ``rows_per_s`` 0 = no limit."""

    max_live_lag_records: int
    max_source_latency_s: float
    rows_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was measured before a chunk.

    live_lag_records   store -> events of the live topic that it has yet to apply; None when no worker reports
    source_latency_s   how long the source took for one small query
    seconds_ahead      how far the rows sent so far are ahead of the rate limit
    """

    live_lag_records: Mapping[str, int | None]
    source_latency_s: float
    seconds_ahead: float = 0.0


def throttle(measurements: Measurements, bounds: Bounds) -> str | None:
    """Why the copy has to wait, in words; None when it may go on.

    A store without a running worker is no reason: rows then wait in Kafka, and waiting for it might never end.
    """
    for store, lag in sorted(measurements.live_lag_records.items()):
        if lag is not None and lag > bounds.max_live_lag_records:
            return f"live lag of {store} is {lag} records (bound {bounds.max_live_lag_records})"
    if measurements.source_latency_s > bounds.max_source_latency_s:
        return f"source latency {measurements.source_latency_s:.1f} s (bound {bounds.max_source_latency_s:.1f} s)"
    if bounds.rows_per_s > 0 and measurements.seconds_ahead > 0:
        return f"rate limit of {bounds.rows_per_s:g} rows/s"
    return None


def next_turn_s(turn_s: float, granted_s: float, rows: int, rows_per_s: float) -> float:
    """When the next turn is due under the limit: ``rows`` rows were read in the turn granted at ``granted_s``.

    A turn that was late (for another reason to wait) is not made up for by a burst.
    """
    return max(turn_s, granted_s) + (rows / rows_per_s if rows_per_s > 0 else 0.0)


def lag_records(ends: Sequence[int], next_offsets: Mapping[int, int]) -> int:
    """Events between what a store has applied (partition -> next offset) and the ends of the live topic."""
    return sum(max(0, end - next_offsets.get(partition, 0)) for partition, end in enumerate(ends))


def unreported(live_lag_records: Mapping[str, int | None]) -> str:
    """The note for stores without a running worker, or ""."""
    silent = sorted(store for store, lag in live_lag_records.items() if lag is None)
    return f"no worker of {', '.join(silent)} is running: rows wait in Kafka" if silent else ""
