"""Where the live topic ends: positions at or beyond that belong to no event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import Rows
from ..schemas.collection import Collection
from ..schemas.partitioner import partitions_of
from ..schemas.position import encode_position


class LogEnd:
    """The end of every partition as a position; asked for again only when a row lies beyond what is known.

    What is asked about must have been read before: then a row that is beyond the end stays beyond it.
    """

    def __init__(self, collection: Collection, live_ends: Callable[[], Sequence[int]]) -> None:
        self._collection = collection
        self._live_ends = live_ends
        self._known = np.full(collection.partitions, encode_position(collection.epoch, 0), np.int64)

    def above(self, partition: int, positions: Sequence[int]) -> int:
        """The end of ``partition``, as new as it must be to judge ``positions``. May block for a request."""
        if any(position >= self._known[partition] for position in positions):
            self._ask()
        return int(self._known[partition])

    def beyond(self, rows: Rows) -> NDArray[np.bool_]:
        """Which ``rows`` are at a position that no event has. May block for a request."""
        beyond = rows.positions >= encode_position(self._collection.epoch, 0)  # most rows of a copy are older
        at = np.flatnonzero(beyond)
        if len(at):
            partitions = partitions_of([rows.ids[row] for row in at], self._collection.partitions)
            positions = rows.positions[at]
            if (positions >= self._known[partitions]).any():
                self._ask()
            beyond[at] = positions >= self._known[partitions]
        return beyond

    def _ask(self) -> None:
        ends = [encode_position(self._collection.epoch, end) for end in self._live_ends()]
        self._known = np.array(ends, np.int64)
