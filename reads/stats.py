"""What a reader counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Count = Literal["waits", "moves", "refused_moves", "fallbacks", "rereads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderStats:
    """Counts since the reader was made.

    reads          store -> answers given from it
    waits          reads that waited for a store to apply what ``after`` or a session asked for
    moves          changes of route that this reader has made
    refused_moves  changes that were put off because a store had not applied enough, or Kafka did not answer
    fallbacks      reads that failed on one store and went on to another
    rereads        answers thrown away and read again because the route moved meanwhile
    """

    reads: Mapping[str, int]
    waits: int
    moves: int
    refused_moves: int
    fallbacks: int
    rereads: int


class Counters:
    """The live counters behind :class:`ReaderStats`; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reads: Counter[str] = Counter()
        self._counts: Counter[Count] = Counter()

    def add(self, count: Count) -> None:
        """Count one."""
        with self._lock:
            self._counts[count] += 1

    def read_from(self, store: str) -> None:
        """Count one answer."""
        with self._lock:
            self._reads[store] += 1

    def snapshot(self) -> ReaderStats:
        """The counts now."""
        with self._lock:
            counts = self._counts
            return ReaderStats(
                reads=dict(self._reads),
                waits=counts["waits"],
                moves=counts["moves"],
                refused_moves=counts["refused_moves"],
                fallbacks=counts["fallbacks"],
                rereads=counts["rereads"],
            )
