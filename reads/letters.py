"""Writes that a store can never hold, so that whoever waits for one learns of it instead of seeing an older row.

A worker's progress says from which offset on no event became a dead letter. That answers for nearly every write at no
cost; only for an older one the dead-letter topic is read, from then on as a table. A letter is acknowledged before the
worker's progress passes it, so a table that was read to its end after the wait shows every letter that counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import DeadLettered, Inconclusive, Refused, StoreError, Unavailable
from ..journal.progress import LiveProgress, live_progress_key
from ..journal.reading import parse
from ..journal.record import Known
from ..log.port import Table, TopicAbsent
from ..schemas.dead_letters import parse_origin
from ..schemas.position import offset_of
from ..schemas.tokens import Run
from .deadline import Deadline
from .marks import Table as View
from .pool import StorePool


class DeadLetters:
    """The dead letters of one collection; shared by all its readers, thread-safe.

    ``open_table`` opens the dead-letter topic, or says that there is none; it may block and raise Unavailable.
    """

    def __init__(
        self,
        *,
        collection: str,
        topic: str,
        progress: Callable[[], View],
        open_table: Callable[[], Table | None],
        pool: StorePool,
    ) -> None:
        self._collection = collection
        self._topic = topic
        self._progress = progress
        self._open_table = open_table
        self._pool = pool
        self._lock = threading.Lock()
        self._table: Table | None = None

    def refuse(self, store: str, writes: Iterable[Run], deadline: Deadline) -> None:
        """Raise DeadLettered if ``store``, which has applied ``writes``, holds an older state of one of them instead.

        A newer state of its id is as good as the write itself. Raises Unavailable when nobody can say; blocks only for
        writes at or below the newest letters of their partition.
        """
        suspects = [run for run in writes if not self._is_clean(store, run)]
        if not suspects:
            return
        table = self._synced(deadline)
        if table is None:
            return
        for key, run in _letters_in(table, f"{store}/{self._topic}/", suspects):
            headers = table.headers(key)
            position = int(headers.get("vecferry.position") or 0)
            if not run.first <= position <= run.last:
                continue  # of another epoch
            id_ = (headers.get("vecferry.key") or b"").decode("utf-8", "backslashreplace")
            if not (id_ and self._is_newer(store, id_, position, deadline)):
                reason = (headers.get("vecferry.reason") or b"").decode("utf-8", "replace")
                raise DeadLettered(store=store, id=id_, position=position, letter=key, reason=reason)

    def close(self) -> None:
        """Follow the topic no more; idempotent."""
        with self._lock:
            if self._table is not None:
                self._table.close()

    def _is_clean(self, store: str, run: Run) -> bool:
        key = live_progress_key(self._collection, store, run.partition)
        value = self._progress().get(key)
        try:
            found = None if value is None else parse(key, value, LiveProgress)
        except Refused:
            return False
        if not isinstance(found, Known) or found.record.clean_from is None:
            return False
        return found.record.clean_from <= offset_of(run.first) and offset_of(run.last) < found.record.next_offset

    def _synced(self, deadline: Deadline) -> Table | None:
        with self._lock:
            if self._table is None or self._table.ended:
                self._table = self._open_table()
            table = self._table
        if table is not None:
            try:
                table.sync(max(0.05, deadline.left_s()))
            except TopicAbsent:
                return None
        return table

    def _is_newer(self, store: str, id_: str, position: int, deadline: Deadline) -> bool:
        try:
            rows = self._pool.call(store, lambda handle: handle.fetch([id_]), deadline)
        except (StoreError, Inconclusive) as error:
            raise Unavailable(f"store {store!r} does not say what it holds of {id_!r}: {error}") from error
        return any(found >= position for found in rows.positions.tolist())


def _letters_in(table: Table, prefix: str, runs: Iterable[Run]) -> Iterator[tuple[str, Run]]:
    """The keys of letters of the live topic that lie in ``runs``, each with its run."""
    by_partition: Mapping[int, list[Run]] = {}
    for run in runs:
        by_partition = {**by_partition, run.partition: [*by_partition.get(run.partition, []), run]}
    for partition, wanted in by_partition.items():
        for key in table.items(f"{prefix}{partition}/"):
            offset = parse_origin(key).offset
            yield from ((key, run) for run in wanted if offset_of(run.first) <= offset <= offset_of(run.last))
