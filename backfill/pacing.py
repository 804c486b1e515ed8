"""Holding a copy back: measures before each chunk, and waits until nothing speaks against it."""

from __future__ import annotations

import threading

from ..journal.progress import LiveProgress, live_progress_key
from ..journal.reading import all_known
from .context import Mover
from .throttle import SILENT_WORKER_S, Bounds, Measurements, lag_records, next_turn_s, throttle, unreported

_RECHECK_S = 0.2


class Pacer:
    """Written by the scanning thread, read by the one that reports: ``cause`` and ``note`` are single references."""

    def __init__(self, mover: Mover, stores: tuple[str, ...]) -> None:
        context = mover.context
        backfill = context.config.backfill
        self._context = context
        self._source = mover.source
        self._stores = stores
        self._bounds = Bounds(
            max_live_lag_records=backfill.max_live_lag_records,
            max_source_latency_s=backfill.max_source_latency_ms / 1_000,
            rows_per_s=backfill.rows_per_s,
        )
        self._granted_s = self._turn_s = context.clock.monotonic_s()
        self.cause: str | None = None
        self.note = ""

    def wait_turn(self, stopped: threading.Event) -> bool:
        """Block until the next chunk may be scanned; False when ``stopped`` was set first."""
        while not stopped.is_set():
            measured = self._measure()
            self.note = unreported(measured.live_lag_records)
            self.cause = throttle(measured, self._bounds)
            if self.cause is None:
                self._granted_s = self._context.clock.monotonic_s()
                return True
            self._context.clock.sleep_s(max(0.01, min(_RECHECK_S, measured.seconds_ahead or _RECHECK_S)))
        return False

    def count(self, rows: int) -> None:
        """Book ``rows`` rows of this turn against the rate limit."""
        self._turn_s = next_turn_s(self._turn_s, self._granted_s, rows, self._bounds.rows_per_s)

    def _measure(self) -> Measurements:
        context = self._context
        # A store cannot read past an open transaction, so waiting for it to get there would relieve nobody.
        ends = context.log.admin.end_offsets(context.events, context.collection.partitions, stable=True)
        before_s = context.clock.monotonic_s()
        self._source.applied()  # one small query, the same each time
        now_s = context.clock.monotonic_s()
        return Measurements(
            live_lag_records={store: self._lag(store, ends) for store in self._stores},
            source_latency_s=now_s - before_s,
            seconds_ahead=max(0.0, self._turn_s - now_s),
        )

    def _lag(self, store: str, ends: tuple[int, ...]) -> int | None:
        context = self._context
        prefix = live_progress_key(context.name, store)
        reports = {
            int(partition): report for partition, report in all_known(context.progress, prefix, LiveProgress).items()
        }
        alive_since = context.clock.unix_s() - SILENT_WORKER_S
        if not reports or max(report.beat_unix_s for report in reports.values()) < alive_since:
            return None
        return lag_records(ends, {partition: report.next_offset for partition, report in reports.items()})
