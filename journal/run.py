"""Control topic, ``run/<c>/<run>``, ``plan/<c>/<run>/<page>``, ``chunk/<c>/<run>/<chunk>`` and ``group/<c>/<store>``.

Runs, their plans, their finished chunks, and where the live group of each store began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from ..stores.base import Cursor
from .record import Record

# This many chunks of MAX_CURSOR_BYTES (``stores/base.py``) stay below Kafka's default record size.
PAGE_CHUNKS = 100


class RunRecord(Record):
    """One backfill run. ``fences``: one offset per partition, the lowest of the fences of the plan and of all chunks.

    The fence is noted at the plan, because a chunk may be sent twice: the rows of its first scan are then still in the
    topic, and need the first, lower fence. When the run is closed, a lower fence of a chunk corrects it. ``generation``
    rises each time a mover resumes the run, so that a chunk which an earlier mover sent in part does not count.
    ``skips``: rows that the log cannot carry are left behind, ``skipped`` of them in all.
    """

    run: str
    source: str
    targets: tuple[str, ...]
    state: Literal["copying", "closed", "cancelled"]
    epoch: int
    partitions: int
    chunks: int
    chunk_rows: int
    estimated_rows: int
    generation: int
    created_unix_s: float
    rows: int = 0
    fences: tuple[int, ...] = ()
    skips: bool = False
    skipped: int = 0


def run_key(collection: str, run: str = "") -> str:
    """Key of RunRecord; without a run, the prefix of all runs of the collection."""
    return f"run/{collection}/{run}"


class PlanPage(Record):
    """Some of a run's chunks, in order. Only the source store can interpret a chunk."""

    chunks: tuple[JsonValue, ...]


def plan_key(collection: str, run: str, page: int) -> str:
    """Key of PlanPage."""
    return f"plan/{collection}/{run}/{page}"


class ChunkDone(Record):
    """A chunk that Kafka has acknowledged whole. ``fences``: one offset per partition, noted before its scan.

    ``skipped``: rows of the chunk that the log cannot carry.
    """

    generation: int
    rows: int
    fences: tuple[int, ...]
    skipped: int = 0


def chunk_key(collection: str, run: str, chunk: int | None = None) -> str:
    """Key of ChunkDone; without a chunk, the prefix of all chunks of the run."""
    return f"chunk/{collection}/{run}/{'' if chunk is None else chunk}"


class GroupRecord(Record):
    """Where a store's group began to read the live topic, per partition; written once, before its first commit.

    A store may read a run only if this start lies at or below every fence of the run.
    """

    epoch: int
    live_start: tuple[int, ...]


def group_key(collection: str, store: str) -> str:
    """Key of GroupRecord."""
    return f"group/{collection}/{store}"


def to_pages(chunks: Sequence[Cursor]) -> list[PlanPage]:
    """``chunks`` in order, PAGE_CHUNKS to a page."""
    return [PlanPage(chunks=tuple(chunks[at : at + PAGE_CHUNKS])) for at in range(0, len(chunks), PAGE_CHUNKS)]


def from_pages(pages: Sequence[PlanPage]) -> tuple[Cursor, ...]:
    """The inverse of :func:`to_pages`."""
    return tuple(chunk for page in pages for chunk in page.chunks)


def pages_of(chunks: int) -> int:
    """How many pages a plan of ``chunks`` chunks has."""
    return -(-chunks // PAGE_CHUNKS)
