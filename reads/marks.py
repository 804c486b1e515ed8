"""How far each store has shown to be. One that shows less than it did has lost writes, and is not read meanwhile.

A store loses what it had applied when a server takes over that lacks the last writes, or when an older backup comes
back. Its connections break then, so every new handle is judged before it is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ..clock import Clock
from ..errors import Inconclusive, Refused, Unavailable
from ..journal.progress import LiveProgress, live_progress_key
from ..journal.reading import parse
from ..journal.record import Known
from ..log.port import TopicAbsent
from ..schemas.batch import Applied
from ..schemas.collection import Collection

_SYNC_S = 2.0
_CATCH_UP_S = 0.5  # the time that a handle gets to be where its store was: a read replica follows within less
_LOOK_S = 0.05


class Table(Protocol):
    """What reads need of a view of a compacted topic; all methods are thread-safe. See ``log.port.Table``."""

    def get(self, key: str) -> bytes | None:
        """The newest value of ``key``, or None. Does not block. Raises Unavailable when it is not known yet."""
        ...

    def sync(self, timeout_s: float) -> None:
        """Block until the table shows what its topic holds now. Raises Unavailable."""
        ...

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Block until ``condition()`` holds; False when ``timeout_s`` passed first. Raises Unavailable once ended."""
        ...


class Handle(Protocol):
    """A store, as far as this module asks it."""

    def applied(self) -> Applied:
        """Its marks."""
        ...


class WentBack(Inconclusive):
    """A store has lost writes that it had applied."""

    def __init__(self, store: str, partition: int, applied: int, least: int) -> None:
        super().__init__(
            f"store {store!r} has lost writes: it had applied partition {partition} up to offset {least} and is at "
            f"{applied} now (another server took over, or a backup came back); nothing is read from it until its "
            f"worker has brought it there again: start `vecferry worker --store {store}` anew"
        )


class Marks:
    """The highest marks of one collection in every store, as reported and as the stores said; thread-safe."""

    def __init__(self, *, collection: Collection, table: Callable[[], Table], clock: Clock) -> None:
        self._collection = collection
        self._table = table
        self._clock = clock
        self._lock = threading.Lock()
        self._highest: dict[str, dict[int, int]] = {}
        self._table_is_read = False

    def reported(self, store: str, partition: int) -> int | None:
        """What the worker of ``store`` has reported; None when nothing is known. Does not block."""
        key = live_progress_key(self._collection.name, store, partition)
        try:
            value = self._table().get(key)
            found = None if value is None else parse(key, value, LiveProgress)
        except (Refused, Unavailable):
            return None  # not a record, or not read yet: the same as none
        return found.record.next_offset if isinstance(found, Known) else None

    def learn(self, store: str, live: Mapping[int, int]) -> None:
        """``store`` has applied ``live``, by its own word."""
        with self._lock:
            highest = self._highest.setdefault(store, {})
            for partition, applied in live.items():
                highest[partition] = max(applied, highest.get(partition, 0))

    def judge(self, store: str, handle: Handle) -> None:
        """Ask a new ``handle`` for its marks. Raises WentBack when they are below what ``store`` had applied.

        Blocks for one small read, and for half a second when the marks are too low. Raises what ``applied`` raises, and
        Unavailable while nothing is known of the reports.
        """
        least = self._least(store)
        until_s = self._clock.monotonic_s() + _CATCH_UP_S
        while True:
            live = handle.applied().live
            below = [partition for partition, offset in least.items() if live.get(partition, 0) < offset]
            if not below:
                self.learn(store, live)
                return
            if self._clock.monotonic_s() >= until_s:
                raise WentBack(store, below[0], live.get(below[0], 0), least[below[0]])
            self._clock.sleep_s(_LOOK_S)

    def _least(self, store: str) -> dict[int, int]:
        self._read_table()
        with self._lock:
            highest = dict(self._highest.get(store, {}))
        for partition in self._partitions():
            highest[partition] = max(highest.get(partition, 0), self.reported(store, partition) or 0)
        return highest

    def _partitions(self) -> Iterable[int]:
        return range(self._collection.partitions)

    def _read_table(self) -> None:
        """Once read, the table keeps what it had, also while Kafka is away."""
        if not self._table_is_read:
            try:
                self._table().sync(_SYNC_S)
            except TopicAbsent:
                return  # nobody has reported anything
            self._table_is_read = True
