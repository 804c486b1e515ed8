"""The chunk plan of a run as records of the control topic, and what is left of it. Pure."""

from __future__ import annotations

from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence

from ..schemas.control import ChunkDone, PlanPage, RunRecord
from ..stores.base import Cursor

# So many chunks of MAX_CURSOR_BYTES (``stores/base.py``) each stay below Kafka's default record size.
PAGE_CHUNKS = 100

_PAGE_BYTES = 2 * 1024 * 1024
_MIN_PAGE_ROWS = 256


def next_run_id(taken: Group[str]) -> str:
    """``r1``, ``r2``, …: the first that is not ``taken``."""
    number = 1
    while f"r{number}" in taken:
        number += 1
    return f"r{number}"


def to_pages(chunks: Sequence[Cursor]) -> list[PlanPage]:
    """``chunks`` in order, PAGE_CHUNKS to a page."""
    return [PlanPage(chunks=tuple(chunks[at : at + PAGE_CHUNKS])) for at in range(0, len(chunks), PAGE_CHUNKS)]


def from_pages(pages: Sequence[PlanPage]) -> tuple[Cursor, ...]:
    """The inverse of :func:`to_pages`."""
    return tuple(chunk for page in pages for chunk in page.chunks)


def pages_of(chunks: int) -> int:
    """How many pages a plan of ``chunks`` chunks has."""
    return -(-chunks // PAGE_CHUNKS)


def first_open_chunk(done: Mapping[int, ChunkDone], chunks: int) -> int:
    """Chunks are sent in order, so this is where a run goes on; ``chunks`` when all are done."""
    return next(chunk for chunk in range(chunks + 1) if chunk not in done)


def closed_run(run: RunRecord, done: Mapping[int, ChunkDone]) -> RunRecord:
    """``run`` with all of its chunks done: the rows that were copied, and its lowest fences."""
    fences = zip(run.fences, *(chunk.fences for chunk in done.values()), strict=True)
    return run.model_copy(
        update={
            "state": "closed",
            "rows": sum(chunk.rows for chunk in done.values()),
            "fences": tuple(min(column) for column in fences),
        }
    )


def page_rows(chunk_rows: int, dimension: int) -> int:
    """Rows to read at a time: 2 MiB of float32 vectors at most (but not too few), and one more than a chunk has.

    Small, so that encoding and sending begin while most of a chunk is still to be read. A page that is not full tells
    the source that there is no other: the one row more saves the look for it.
    """
    return min(chunk_rows + 1, max(_MIN_PAGE_ROWS, _PAGE_BYTES // (4 * dimension)))
