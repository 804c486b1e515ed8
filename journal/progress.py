"""Progress topic: what workers report.

    live/<c>/<store>/<partition>             LiveProgress
    snapshot/<c>/<store>/<run>/<partition>   SnapshotProgress
    worker/<c>/<store>/<instance>            WorkerProgress

A report is its writer's own: the next worker that owns the partition replaces it, whichever version wrote it.
"""

from __future__ import annotations

from .record import Record


class LiveProgress(Record):
    """A store's applied: the next offset of this live partition. ``complete``: the store holds a full copy of it.

    ``clean_from``: no event from here up to ``next_offset`` became a dead letter; None: not known.
    """

    next_offset: int
    complete: bool
    beat_unix_s: float
    clean_from: int | None = None


def live_progress_key(collection: str, store: str, partition: int | None = None) -> str:
    """Key of LiveProgress; without a partition, the prefix of all of them."""
    return f"live/{collection}/{store}/{'' if partition is None else partition}"


def live_progress_prefix(collection: str) -> str:
    """What the keys of every LiveProgress of ``collection`` begin with; ``<store>/<partition>`` follows."""
    return f"live/{collection}/"


class SnapshotProgress(Record):
    """A store's place in one partition of a run, in whole chunks. ``problem``: why it can never be closed, or ""."""

    next_chunk: int
    closed: bool
    problem: str = ""


def snapshot_progress_key(collection: str, store: str, run: str, partition: int | None = None) -> str:
    """Key of SnapshotProgress; without a partition, the prefix of all of them."""
    return f"snapshot/{collection}/{store}/{run}/{'' if partition is None else partition}"


class WorkerProgress(Record):
    """Outcomes since a worker process started; they add up to the events that it consumed."""

    beat_unix_s: float
    live: dict[str, int]
    snapshot: dict[str, int]
    redelivered: int


def worker_progress_key(collection: str, store: str, instance: str = "") -> str:
    """Key of WorkerProgress; without an instance, the prefix of all of them."""
    return f"worker/{collection}/{store}/{instance}"
