"""Reading the chunks of a run from its source, ahead of what is being sent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from .. import failpoints
from ..errors import Refused
from ..executor import result_of
from ..schemas.batch import Rows
from ..stores.base import Cursor
from ..wording import partitions
from .context import Mover
from .fencing import fences_at
from .groups import late_partitions
from .pacing import Pacer
from .plan import page_rows

_PAGES_AHEAD = 5  # bounds the memory of a copy: pages are of bounded size


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows of ``chunk``; more may follow."""

    chunk: int
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEnd:
    """All rows of ``chunk`` were read. ``fences``: noted before the first of them."""

    chunk: int
    fences: tuple[int, ...]


class Scanner:
    """Scans ``chunks`` from number ``first`` on, in order, each behind a fence of its own and when the pacer lets it.

    A context manager that owns two executors: one uses the source and the pacer's measuring, alone while it runs; the
    other looks for dead letters below the next fence.
    """

    def __init__(
        self,
        mover: Mover,
        chunks: Sequence[Cursor],
        *,
        first: int,
        live_starts: Mapping[str, tuple[int, ...]],
        pacer: Pacer,
    ) -> None:
        context = mover.context
        self._context = context
        self._source = mover.source
        self._chunks = chunks
        self._first = first
        self._live_starts = live_starts
        self._pacer = pacer
        self._page_rows = page_rows(context.config.backfill.chunk_rows, context.collection.space.dimension)
        self._stopped = threading.Event()
        self._scan = context.threads("backfill-scan")
        self._beside = context.threads("backfill-fences")
        self._pieces = self._scanned()
        self._ahead: deque[Future[Page | ChunkEnd | None]] = deque()

    def __enter__(self) -> Scanner:
        for _ in range(_PAGES_AHEAD):
            self._read_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._scan.shutdown()
        self._beside.shutdown()
        self._pieces.close()

    def next(self, timeout_s: float) -> Page | ChunkEnd | None:
        """The next piece, or None when there was none within ``timeout_s``; raises what the scan raised."""
        if not self._scan.wait(self._ahead[0], timeout_s):
            return None
        piece = self._ahead.popleft().result()
        self._read_on()
        return piece

    def _read_on(self) -> None:
        self._ahead.append(self._scan.submit(lambda: None if self._stopped.is_set() else next(self._pieces, None)))

    def _scanned(self) -> Generator[Page | ChunkEnd, None, None]:
        noted = self._note_fences()
        for chunk in range(self._first, len(self._chunks)):
            if not self._pacer.wait_turn(self._stopped):
                return
            fences = result_of(self._beside, noted)
            failpoints.hit("backfill.fenced")
            if chunk + 1 < len(self._chunks):  # beside this scan: a fence may be older than its scan, never newer
                noted = self._note_fences()
            for rows in self._source.scan(self._chunks[chunk], self._page_rows):
                self._pacer.count(len(rows))
                yield Page(chunk=chunk, rows=rows)
            failpoints.hit("backfill.scanned")
            yield ChunkEnd(chunk=chunk, fences=fences)

    def _note_fences(self) -> Future[tuple[int, ...]]:
        marks = self._source.applied().live  # in this thread, which alone uses the source
        return self._beside.submit(lambda: self._fences_at(marks))

    def _fences_at(self, marks: Mapping[int, int]) -> tuple[int, ...]:
        fences = fences_at(self._context, marks)
        for store, start in self._live_starts.items():
            if late := late_partitions(start, fences):
                raise Refused(
                    f"a dead letter of {self._context.source} is older than the start of the group of {store} in "
                    f"{partitions(late)}; resolve it (`vecferry dlq list {self._context.name}`) and start again"
                )
        return fences
