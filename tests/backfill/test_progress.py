from __future__ import annotations

from vecferry.backfill.progress import RateMeter, share_done


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = RateMeter(0.0, rows=1_000)
    assert meter.rows_per_s(0.0, 1_000) == 0.0
    assert meter.rows_per_s(2.0, 1_200) == 100.0
    for second in range(3, 30):
        rate = meter.rows_per_s(float(second), 1_200 + 50 * (second - 2))
    assert rate == 50.0
    for second in range(30, 45):
        rate = meter.rows_per_s(float(second), 2_550)
    assert rate == 0.0


def test_an_estimate_that_was_too_low_never_reads_as_done() -> None:
    assert share_done(50, 200, 10.0) == (25.0, 15.0)
    assert share_done(300, 200, 10.0) == (99.9, 0.0)
    assert share_done(0, 0, 0.0) == (0.0, None)
    assert share_done(5, 10, 0.0) == (50.0, None)
