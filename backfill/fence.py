"""Fences: what a chunk's scan is known to contain, and which live group may read the run. Pure.

A chunk's fence of a partition is noted *before* the scan: every event below it was applied to the source, so the scan
shows it. A fence above an unresolved dead letter of the source, or one noted after the scan, loses an update; the
exhaustive check in ``tests/model`` runs these very functions.
"""

from __future__ import annotations


def fence_offset(applied: int, oldest_dead_letter: int | None) -> int:
    """The fence of a partition for a chunk about to be scanned: every event below it is in the source's rows.

    ``applied`` is the source's mark, ``oldest_dead_letter`` the offset of its oldest unresolved dead letter (None if
    there is none). The caller reads ``applied`` *first*, then lists the dead letters, then scans: a letter is
    acknowledged before the mark passes it, so in the other order one can slip through. A chunk that is scanned again
    keeps the lower of its fences, because rows of its first scan may already be in the snapshot topic.
    """
    return applied if oldest_dead_letter is None else min(applied, oldest_dead_letter)


def may_read_run(live_start: int, run_fence: int) -> bool:
    """Whether a store whose live group started at ``live_start`` may read a run with the lowest fence ``run_fence``.

    Per partition. The rows of the run miss nothing below the fence, so the store must have seen, or be about to see,
    every event from the fence on.
    """
    return live_start <= run_fence
