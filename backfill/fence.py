"""Fences: what a chunk's scan is known to contain, and which live group may read the run. Pure.

A chunk's fence of a partition is noted *before* the scan: every event below it was applied to the source, so the scan
shows it. A fence above an unresolved dead letter of the source, or one noted after the scan, loses an update.
"""

from __future__ import annotations


def fence_offset(applied: int, oldest_dead_letter: int | None) -> int:
    """The fence of one partition: the source's next offset to apply, or its oldest unresolved dead letter if lower."""
    return applied if oldest_dead_letter is None else min(applied, oldest_dead_letter)


def may_read_run(live_start: int, run_fence: int) -> bool:
    """Whether a store whose live group began at ``live_start`` may read a run with that lowest fence, per partition."""
    return live_start <= run_fence
