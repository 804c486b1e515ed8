"""Fences: below everything the source lacks, at or above where a reading store began."""

from __future__ import annotations

import pytest
from vecferry.backfill.fence import fence_offset, may_read_run


@pytest.mark.parametrize(("applied", "letter", "fence"), [(5, None, 5), (5, 3, 3), (5, 0, 0), (5, 7, 5), (0, None, 0)])
def test_a_fence_lies_below_every_event_that_the_source_lacks(applied: int, letter: int | None, fence: int) -> None:
    assert fence_offset(applied, letter) == fence


@pytest.mark.parametrize(("live_start", "fence", "allowed"), [(0, 0, True), (0, 9, True), (9, 9, True), (10, 9, False)])
def test_a_run_may_be_read_by_stores_that_started_at_or_below_its_fence(
    live_start: int, fence: int, allowed: bool
) -> None:
    assert may_read_run(live_start, fence) is allowed
