"""The report of a run: names, zeros and minima."""

from __future__ import annotations

import pytest
from demo_reports import good, put
from vecferry.proof.report import MINIMA, ZEROS, Report, empty, faults, percentile, rows, shortfalls, value_of
from vecferry.proof.view import Rates, State, line

NAMES = (
    "exposure.updated_during_backfill",
    "exposure.deleted_during_backfill",
    "exposure.stale_snapshot_rows_refused",
    "exposure.redelivered",
    "exposure.reads_by_route",
    "exposure.token_reads_share",
    "writes.acknowledged",
    "writes.failed",
    "reads.total",
    "reads.failed",
    "reads.stale",
    "backfill.rows",
    "backfill.rows_per_s",
    "verify.missing",
    "verify.extra",
    "verify.stale",
    "verify.corrupt",
    "lost",
    "resurrected",
    "regressed",
    "cutovers",
    "rollbacks",
    "route_flip_p99_ms",
    "publish_call_p50_us",
    "seconds",
)


@pytest.fixture(name="good")
def good_report() -> Report:
    return good()


def test_every_name_of_the_contract_is_there() -> None:
    report = empty()
    for name in NAMES:
        *path, last = name.split(".")
        assert last in (value_of(report, ".".join(path)) if path else report), name


def test_a_report_at_its_minima_passes(good: Report) -> None:
    assert (faults(good), shortfalls(good)) == ([], [])


@pytest.mark.parametrize("name", ZEROS)
def test_anything_but_zero_is_a_fault(good: Report, name: str) -> None:
    put(good, name, 1)
    assert faults(good) == [f"{name} is 1, must be 0"]


@pytest.mark.parametrize("name", MINIMA)
def test_anything_below_its_minimum_is_too_little(good: Report, name: str) -> None:
    put(good, name, MINIMA[name] * 0.99)
    assert [text.split()[0] for text in shortfalls(good)] == [name]


def test_what_was_never_measured_is_a_fault() -> None:
    assert "lost was not measured" in faults(empty())
    assert {text.split()[0] for text in shortfalls(empty())} == set(MINIMA)


def test_the_table_shows_every_figure_with_what_is_required(good: Report) -> None:
    shown = {name: required for name, _, required in rows(good)}
    assert {*ZEROS, *MINIMA} <= set(shown)
    assert shown["lost"] == "0"
    assert shown["rollbacks"] == ">= 1"


def test_percentile() -> None:
    assert percentile([], 0.99) is None
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([float(n) for n in range(1, 101)], 0.5) == 50.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0


def test_the_line_shows_phase_route_lag_rates_and_errors() -> None:
    state = State(phase="3 cutover", percent=25, lag={"old": 3, "new": 4})
    state.writes = {"acknowledged": 10, "failures": ["x"]}
    state.reads = {"total": 5, "by_route": {"old": 4, "new": 1}, "failures": {"y": 2}, "stale": ["z"]}
    text = line(state, Rates()(state))
    for part in ("3 cutover", "75 % old, 25 % new", "old 3, new 4", "10 acknowledged", "errors: 4"):
        assert part in text
