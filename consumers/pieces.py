"""Cut a batch into pieces that the store accepts in one call. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import EventBatch
from ..schemas.collection import MAX_ID_BYTES
from ..stores.base import Capabilities

_GROWTH = 16  # each try beyond what the server takes costs its whole time limit


def pieces(batch: EventBatch, limits: Capabilities) -> list[NDArray[np.intp]]:
    """The rows of ``batch`` in order, cut so that no piece exceeds ``max_rows`` or ``max_bytes``; at least one piece.

    A single row that exceeds ``max_bytes`` is a piece of its own: the store rejects it with the reason.
    """
    n = len(batch)
    max_rows = max(1, n) if limits.max_rows is None else limits.max_rows
    max_bytes = limits.max_bytes
    if max_bytes is None or _at_most_bytes(batch) <= max_bytes:
        return np.split(np.arange(n), range(max_rows, n, max_rows))
    ends = np.cumsum(_row_bytes(batch))
    starts, start = [], 0
    while start < n:
        fits = int(np.searchsorted(ends, max_bytes + (ends[start - 1] if start else 0), side="right"))
        starts.append(start)
        start = max(start + 1, min(fits, start + max_rows))
    return np.split(np.arange(n), starts[1:])


class RowLimit:
    """How many rows go to the store in one call: half as many after it ran into a limit, slowly more after that."""

    def __init__(self) -> None:
        self.rows: int | None = None  # None: any number

    def cut(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Those that may go now, and the rest."""
        return rows[: self.rows], rows[len(rows) if self.rows is None else self.rows :]

    def exceeded(self, rows: int) -> int:
        """A call with ``rows`` rows was too much; returns how many go in the next one."""
        self.rows = max(1, rows // 2)
        return self.rows

    def met(self, rows: int) -> None:
        """A call with ``rows`` rows went through."""
        if self.rows is not None and rows >= self.rows:
            self.rows += max(1, self.rows // _GROWTH)


def _at_most_bytes(batch: EventBatch) -> int:
    return batch.vectors.nbytes + len(batch) * MAX_ID_BYTES + sum(map(len, batch.metadata))


def _row_bytes(batch: EventBatch) -> NDArray[np.int64]:
    texts = (len(id_.encode()) + len(text) for id_, text in zip(batch.ids, batch.metadata, strict=True))
    sizes: NDArray[np.int64] = (
        np.fromiter(texts, np.int64, len(batch)) + batch.vectors.shape[1] * batch.vectors.itemsize
    )
    return sizes
