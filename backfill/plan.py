"""What is left of a run's chunk plan, and how it is read. Pure."""

from __future__ import annotations

from collections.abc import Collection as Group
from collections.abc import Mapping

from ..journal.run import ChunkDone, RunRecord

_PAGE_BYTES = 2 * 1024 * 1024
_MIN_PAGE_ROWS = 256


def next_run_id(taken: Group[str]) -> str:
    """``r1``, ``r2``, …: the first that is not ``taken``."""
    number = 1
    while f"r{number}" in taken:
        number += 1
    return f"r{number}"


def first_open_chunk(done: Mapping[int, ChunkDone], chunks: int) -> int:
    """Chunks are sent in order, so this is where a run goes on; ``chunks`` when all are done."""
    return next(chunk for chunk in range(chunks + 1) if chunk not in done)


def closed_run(run: RunRecord, done: Mapping[int, ChunkDone]) -> RunRecord:
    """``run`` with all of its chunks done: the rows that were copied, those left behind, and its lowest fences."""
    fences = zip(run.fences, *(chunk.fences for chunk in done.values()), strict=True)
    return run.model_copy(
        update={
            "state": "closed",
            "rows": sum(chunk.rows for chunk in done.values()),
            "skipped": sum(chunk.skipped for chunk in done.values()),
            "fences": tuple(min(column) for column in fences),
        }
    )


def page_rows(chunk_rows: int, dimension: int) -> int:
    """Rows to read at a time: 2 MiB of float32 vectors at most (but not too few), and one more than a chunk has.

    Small, so that encoding and sending begin while most of a chunk is still to be read. A page that is not full tells
    the source that there is no other: the one row more saves the look for it.
    """
    return min(chunk_rows + 1, max(_MIN_PAGE_ROWS, _PAGE_BYTES // (4 * dimension)))
