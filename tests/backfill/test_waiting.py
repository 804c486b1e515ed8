from __future__ import annotations

from collections.abc import Callable

import pytest
from vecferry.backfill.progress import Progress
from vecferry.backfill.waiting import wait_applied
from vecferry.errors import Inconclusive, Refused
from vecferry.schemas.control import RunRecord, SnapshotProgress, snapshot_progress_key

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
    """A progress view and a clock: each wait lets one scripted report arrive and half a second pass."""

    def __init__(self, reports: list[tuple[int, SnapshotProgress]]) -> None:
        self.values: dict[str, bytes] = {}
        self.now_s = 0.0
        self._reports = reports

    def items(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        self.now_s += timeout_s
        if self._reports:
            partition, report = self._reports.pop(0)
            self.values[snapshot_progress_key("products", "new", "r1", partition)] = report.encode()
        return condition()

    def monotonic_s(self) -> float:
        return self.now_s


def report(next_chunk: int, *, closed: bool = False, problem: str = "") -> SnapshotProgress:
    return SnapshotProgress(next_chunk=next_chunk, closed=closed, problem=problem)


def wait(view: ScriptedView, run: RunRecord = RUN, store: str = "new", timeout_s: float = 60.0) -> list[Progress]:
    seen: list[Progress] = []
    wait_applied(
        view,  # type: ignore[arg-type]
        collection="products",
        run=run,
        store_name=store,
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
