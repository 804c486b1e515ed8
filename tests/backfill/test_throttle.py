from __future__ import annotations

import pytest
from vecferry.backfill.throttle import Bounds, Measurements, lag_records, next_turn_s, throttle, unreported

BOUNDS = Bounds(max_live_lag_records=10_000, max_source_latency_s=1.0, rows_per_s=500.0)


def measured(
    lag: dict[str, int | None] | None = None, latency_s: float = 0.0, seconds_ahead: float = 0.0
) -> Measurements:
    return Measurements(live_lag_records=lag or {}, source_latency_s=latency_s, seconds_ahead=seconds_ahead)


@pytest.mark.parametrize(
    ("measurements", "cause"),
    [
        (measured({"old": 0, "new": 12_034}), "live lag of new is 12034 records (bound 10000)"),
        (measured({"new": 10_000}), None),
        (measured({"new": None, "old": 3}), None),
        (measured(latency_s=1.44), "source latency 1.4 s (bound 1.0 s)"),
        (measured(latency_s=1.0), None),
        (measured(seconds_ahead=0.5), "rate limit of 500 rows/s"),
        (measured({"new": 20_000}, latency_s=2.0, seconds_ahead=1.0), "live lag of new is 20000 records (bound 10000)"),
    ],
)
def test_the_throttle_names_its_cause(measurements: Measurements, cause: str | None) -> None:
    assert throttle(measurements, BOUNDS) == cause


def test_without_a_limit_nothing_is_ahead_of_it() -> None:
    unlimited = Bounds(max_live_lag_records=1, max_source_latency_s=1.0, rows_per_s=0.0)
    assert throttle(measured(seconds_ahead=9.0), unlimited) is None
    assert next_turn_s(3.0, 5.0, 1_000_000, 0.0) == 5.0


def test_turns_keep_the_rate_and_do_not_save_up_waiting() -> None:
    turn_s = granted_s = 0.0
    for _ in range(10):  # the reading itself takes no time: the limit alone paces
        turn_s = next_turn_s(turn_s, granted_s, 100, 50.0)
        granted_s = turn_s
    assert turn_s == 20.0
    late_s = next_turn_s(turn_s, 100.0, 100, 50.0)
    assert late_s == 102.0


def test_lag_is_the_sum_over_partitions_and_an_unreported_one_counts_whole() -> None:
    assert lag_records((10, 20, 30), {0: 10, 1: 15}) == 0 + 5 + 30
    assert lag_records((10,), {0: 12}) == 0


def test_a_store_without_a_worker_is_named() -> None:
    assert unreported({"old": 3, "new": None}) == "no worker of new is running: rows wait in Kafka"
    assert unreported({"old": 3}) == ""
