"""Waiting until a store holds all of a run."""

from __future__ import annotations

from collections.abc import Mapping

from ..clock import Clock
from ..errors import Inconclusive, Refused
from ..journal.progress import SnapshotProgress, snapshot_progress_key
from ..journal.reading import all_known
from ..journal.run import RunRecord
from ..log.port import Table
from ..stores.base import Store
from ..wording import partitions
from .progress import OnProgress, Progress

_REPORT_INTERVAL_S = 0.5


def wait_applied(
    progress: Table,
    *,
    collection: str,
    run: RunRecord,
    store_name: str,
    store: Store,
    timeout_s: float,
    on_progress: OnProgress,
    clock: Clock,
) -> None:
    """Block until ``store`` itself says that every partition of ``run`` is closed in it.

    Level-triggered: it may be called late, or again. What the workers of ``store_name`` report only says when to ask
    the store: a report may be older than its table. Raises Inconclusive after ``timeout_s``, naming the partitions that
    are open, Refused with the cause when the store can never get there, and what ``Store.applied`` raises.
    """
    if store_name not in run.targets or run.state == "cancelled":
        remedy = f"run `vecferry replay {collection} --run {run.run} --into {store_name}`"
        why = f"the run was made for {', '.join(run.targets)}; {remedy}"
        if run.state == "cancelled":
            why = f"the run is cancelled; `vecferry start {collection}` makes another"
        raise Refused(f"store {store_name} will never hold run {run.run}: {why}")
    deadline_s = clock.monotonic_s() + timeout_s
    first = True
    while True:
        reports = read_snapshot_progress(progress, collection, store_name, run.run)
        left_s = deadline_s - clock.monotonic_s()
        shown, open_partitions = reports, list(range(run.partitions))
        if first or left_s <= 0 or _decisive(reports, run):
            shown = _held(store, run)
            refuse_problems(_believed(reports, shown), collection, store_name, run)
            open_partitions = [p for p in open_partitions if not shown[p].closed]
        on_progress(_progress(shown if reports or not open_partitions else {}, run, store_name))
        first = False
        if not open_partitions:
            return
        if left_s <= 0:
            silent = "" if reports else f"; is one running? start `vecferry worker --store {store_name}`"
            raise Inconclusive(
                f"store {store_name} has not applied run {run.run} in {partitions(open_partitions)} "
                f"within {timeout_s:g} s{silent}"
            )
        _wait_for_news(progress, reports, collection, store_name, run.run, min(left_s, _REPORT_INTERVAL_S))


def _decisive(reports: Mapping[int, SnapshotProgress], run: RunRecord) -> bool:
    """Whether the reports say that the end is there, one way or the other."""
    closed = sum(report.closed for report in reports.values()) == run.partitions
    return closed or any(report.problem for report in reports.values())


def _held(store: Store, run: RunRecord) -> dict[int, SnapshotProgress]:
    """What the store itself says of every partition of ``run``."""
    snapshots = store.applied().snapshots
    marks = {partition: snapshots.get((run.run, partition)) for partition in range(run.partitions)}
    return {
        partition: SnapshotProgress(next_chunk=mark.next_chunk if mark else 0, closed=mark is not None and mark.closed)
        for partition, mark in marks.items()
    }


def _believed(
    reports: Mapping[int, SnapshotProgress], held: Mapping[int, SnapshotProgress]
) -> dict[int, SnapshotProgress]:
    """The reports that speak of what the store holds: a problem is met right behind the chunks that were applied."""
    return {
        partition: report
        for partition, report in reports.items()
        if partition in held and not held[partition].closed and report.next_chunk == held[partition].next_chunk
    }


def read_snapshot_progress(progress: Table, collection: str, store_name: str, run: str) -> dict[int, SnapshotProgress]:
    """What the worker of a store has reported of a run, by partition."""
    prefix = snapshot_progress_key(collection, store_name, run)
    return {int(partition): report for partition, report in all_known(progress, prefix, SnapshotProgress).items()}


def _wait_for_news(
    progress: Table,
    known: dict[int, SnapshotProgress],
    collection: str,
    store_name: str,
    run: str,
    timeout_s: float,
) -> None:
    progress.wait_for(lambda: read_snapshot_progress(progress, collection, store_name, run) != known, timeout_s)


def refuse_problems(reports: Mapping[int, SnapshotProgress], collection: str, store_name: str, run: RunRecord) -> None:
    """Raise Refused when a partition can never be closed."""
    problems = [
        f"store {store_name} can never complete partition {partition} by run {run.run}: {report.problem}; "
        f"`vecferry start {collection} --new-run` makes another run"
        for partition, report in sorted(reports.items())
        if report.problem
    ]
    if problems:
        raise Refused(problems)


def _progress(reports: Mapping[int, SnapshotProgress], run: RunRecord, store_name: str) -> Progress:
    # The slowest partition decides; rows are known for the whole run only, so they go by chunks.
    chunks_done = min((reports[p].next_chunk if p in reports else 0 for p in range(run.partitions)), default=0)
    closed = sum(report.closed for report in reports.values()) == run.partitions
    share = sum(report.next_chunk for report in reports.values()) / max(1, run.partitions * run.chunks)
    return Progress(
        phase=f"applying run {run.run} to {store_name}",
        chunks_done=chunks_done,
        chunks=run.chunks,
        rows=int(run.rows * share),
        percent=100.0 if closed else min(99.9, 100.0 * share),
        note="" if reports else f"no worker of {store_name} has reported yet",
    )
