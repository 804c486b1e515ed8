from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from vecferry.backfill.progress import Progress
from vecferry.backfill.waiting import wait_applied
from vecferry.errors import Inconclusive, Refused
from vecferry.journal.progress import SnapshotProgress, snapshot_progress_key
from vecferry.journal.run import RunRecord
from vecferry.schemas.batch import Applied, SnapshotMark

RUN = RunRecord(
    run="r1",
    source="old",
    targets=("new",),
    state="closed",
    epoch=1,
    partitions=2,
    chunks=4,
    chunk_rows=10,
    estimated_rows=40,
    generation=1,
    created_unix_s=0.0,
    rows=40,
    fences=(0, 0),
)


class ScriptedView:
    """A progress view, a clock and the store: each wait lets half a second pass and one scripted report arrive, of what
    the store then holds. ``old``: reports that are there from the beginning, and not true of the store.
    """

    def __init__(
        self, reports: list[tuple[int, SnapshotProgress]], old: Sequence[tuple[int, SnapshotProgress]] = ()
    ) -> None:
        self.values = {_key(partition): report.encode() for partition, report in old}
        self.held: dict[tuple[str, int], SnapshotMark] = {}
        self.asked = 0
        self.now_s = 0.0
        self._reports = reports

    def items(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        self.now_s += timeout_s
        if self._reports:
            partition, report = self._reports.pop(0)
            self.values[_key(partition)] = report.encode()
            self.held["r1", partition] = SnapshotMark(
                run="r1", partition=partition, next_offset=9, next_chunk=report.next_chunk, closed=report.closed
            )
        return condition()

    def applied(self) -> Applied:
        self.asked += 1
        return Applied(live={}, complete=frozenset(), snapshots=dict(self.held))

    def monotonic_s(self) -> float:
        return self.now_s


def _key(partition: int) -> str:
    return snapshot_progress_key("products", "new", "r1", partition)


def report(next_chunk: int, *, closed: bool = False, problem: str = "") -> SnapshotProgress:
    return SnapshotProgress(next_chunk=next_chunk, closed=closed, problem=problem)


def wait(view: ScriptedView, run: RunRecord = RUN, store: str = "new", timeout_s: float = 60.0) -> list[Progress]:
    seen: list[Progress] = []
    wait_applied(
        view,  # type: ignore[arg-type]
        collection="products",
        run=run,
        store_name=store,
        store=view,  # type: ignore[arg-type]
        timeout_s=timeout_s,
        on_progress=seen.append,
        clock=view,  # type: ignore[arg-type]
    )
    return seen


def test_it_returns_once_every_partition_is_closed() -> None:
    view = ScriptedView([(0, report(2)), (0, report(4, closed=True)), (1, report(2)), (1, report(4, closed=True))])
    seen = wait(view)
    assert [progress.percent for progress in seen] == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert seen[0].note == "no worker of new has reported yet"
    assert seen[-1].chunks_done == 4


def test_all_chunks_without_the_closing_marker_are_not_enough() -> None:
    view = ScriptedView([(0, report(4)), (1, report(4, closed=True))])
    with pytest.raises(Inconclusive, match=r"in partition 0 within 5 s$"):
        wait(view, timeout_s=5.0)


def test_called_late_it_returns_at_once() -> None:
    view = ScriptedView([(0, report(4, closed=True)), (1, report(4, closed=True))])
    wait(view)
    assert len(wait(view)) == 1


def test_without_a_worker_the_time_out_says_so() -> None:
    with pytest.raises(Inconclusive, match="is one running"):
        wait(ScriptedView([]), timeout_s=2.0)


def test_a_partition_that_can_never_be_closed_is_refused_with_its_reason() -> None:
    with pytest.raises(Refused, match="partition 1 by run r1: chunk 2 is missing; `vecferry start products --new-run`"):
        wait(ScriptedView([(0, report(2)), (1, report(1, problem="chunk 2 is missing"))]))


def test_reports_of_a_table_that_is_gone_are_not_believed() -> None:
    old = [(partition, report(4, closed=True)) for partition in (0, 1)]
    view = ScriptedView([(0, report(4, closed=True)), (1, report(2)), (1, report(4, closed=True))], old)
    assert [progress.percent for progress in wait(view)] == [0.0, 50.0, 75.0, 100.0]
    with pytest.raises(Inconclusive, match="in partitions 0-1"):
        wait(ScriptedView([], old), timeout_s=2.0)


def test_an_old_problem_is_not_believed_of_a_store_that_stands_elsewhere() -> None:
    old = [(1, report(2, problem="chunk 2 is missing"))]
    wait(ScriptedView([(0, report(4, closed=True)), (1, report(4, closed=True))], old))
    with pytest.raises(Refused, match="chunk 2 is missing"):
        wait(ScriptedView([(0, report(4, closed=True)), (1, report(2)), old[0]]))


def test_a_store_that_is_complete_without_a_report_reads_as_done() -> None:
    view = ScriptedView([])
    for partition in (0, 1):
        view.held["r1", partition] = SnapshotMark(
            run="r1", partition=partition, next_offset=9, next_chunk=4, closed=True
        )
    (seen,) = wait(view)
    assert (seen.percent, seen.chunks_done, seen.note) == (100.0, 4, "")


def test_the_store_is_left_alone_while_nothing_is_decided() -> None:
    view = ScriptedView([(0, report(chunk)) for chunk in (1, 2, 3)])
    with pytest.raises(Inconclusive):
        wait(view, timeout_s=5.0)
    assert view.asked == 2  # at the beginning and at the end


@pytest.mark.parametrize(
    ("run", "store", "why"),
    [
        (RUN, "third", "was made for new"),
        (RUN.model_copy(update={"state": "cancelled"}), "new", "is cancelled"),
    ],
)
def test_what_can_never_happen_is_refused_at_once(run: RunRecord, store: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        wait(ScriptedView([]), run=run, store=store)
