"""A Store in memory: the Protocol without an engine, decided by ``consumers/ordering.py`` itself.

``before`` is called with the name of each method before it runs: a simulation lets the world move there, a test
counts or fails. All state lives in one dict, so a test may also corrupt it: ``store.rows["id"]``.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from vecferry.consumers.ordering import Absent, Deleted, Present, State, decide
from vecferry.schemas.batch import Applied, EventBatch, Hit, LiveMark, Mark, Op, Outcome, Rows, SnapshotMark
from vecferry.schemas.collection import Collection
from vecferry.schemas.fields import RowFields
from vecferry.schemas.filters import Condition, Operator
from vecferry.schemas.position import base_position
from vecferry.stores.base import Capabilities, Cursor, ExportPage, Guarantee, Size, gap
from vecferry.stores.key_ranges import KeyRange, cut, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One id: a row, or a delete that is remembered (``vector`` zero, ``metadata`` empty)."""

    position: int
    deleted: bool
    vector: NDArray[np.float32]
    metadata: bytes


class MemoryStore:
    """One collection in one dict. Thread-safe, so a worker and a reader may share it."""

    capabilities = Capabilities(
        guarantee=Guarantee.ATOMIC,
        id_types=frozenset({"text", "bigint", "uuid"}),
        metrics=frozenset({"cosine", "dot", "l2"}),
        filters=frozenset(Operator),
    )

    def __init__(self, collection: Collection, before: Callable[[str], None] = lambda method: None) -> None:
        self.collection = collection
        self.rows: dict[str, Entry] = {}
        self.live: dict[int, int] = {}
        self.complete: set[int] = set()
        self.snapshots: dict[tuple[str, int], SnapshotMark] = {}
        self.columns = RowFields()
        self.closed = False
        self._before = before
        self._lock = threading.RLock()

    def load(self, ids: Sequence[str], vectors: NDArray[np.float32], metadata: Sequence[bytes]) -> None:
        """Rows as an application has them before enrolment: without a position."""
        base = base_position(self.collection.epoch)
        for id_, vector, text in zip(ids, vectors, metadata, strict=True):
            self.rows[id_] = Entry(position=base, deleted=False, vector=vector.copy(), metadata=text)

    def check(self) -> tuple[str, ...]:
        self._before("check")
        return ()

    def remarks(self) -> tuple[str, ...]:
        return ()

    def owner_statements(self, *, complete: bool) -> tuple[str, ...]:
        return ()

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        self._before("create")
        partitions = range(self.collection.partitions)
        if not dry_run:
            self.live = {partition: self.live.get(partition, 0) for partition in partitions}
            self.complete |= set(partitions) if complete else set()
        return ("create",)

    def fields(self) -> RowFields:
        self._before("fields")
        return self.columns

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        self._before("apply")
        assert len(set(batch.ids)) == len(batch), "an id is twice in the batch"
        assert len(batch) <= (self.capabilities.max_rows or len(batch)), "more rows than one call takes"
        with self._lock:
            for mark in marks:
                if self._applied_to(mark) < mark.known:
                    raise gap(mark, self._applied_to(mark))
            outcomes = [self._apply_row(batch, row) for row in range(len(batch))]
            for mark in marks:
                self._mark(mark)
        return np.array(outcomes, np.int8)

    def applied(self) -> Applied:
        self._before("applied")
        with self._lock:
            return Applied(live=dict(self.live), complete=frozenset(self.complete), snapshots=dict(self.snapshots))

    def highest_position(self) -> int | None:
        self._before("highest_position")
        base = base_position(self.collection.epoch)
        with self._lock:
            return max((entry.position for entry in self.rows.values() if entry.position != base), default=None)

    def fetch(self, ids: Sequence[str]) -> Rows:
        self._before("fetch")
        with self._lock:
            return self._rows([id_ for id_ in ids if id_ in self.rows])

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        ids = self._live_ids()
        return cut(ids[rows_per_chunk - 1 : -1 : rows_per_chunk])

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        keys = KeyRange.of(chunk)
        after = keys.lower
        while True:
            self._before("scan")
            with self._lock:
                ids = self._after(after, page_rows)
                page = self._rows([id_ for id_ in ids if keys.upper is None or id_ <= keys.upper])
            if not len(page):
                return
            yield page
            after = page.ids[-1]

    def export(self, after: Cursor, limit: int) -> ExportPage:
        self._before("export")
        with self._lock:
            rows = self._rows(self._after(key_of(after), limit))
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        self._before("search")
        with self._lock:
            hits = []
            for id_ in self._live_ids():
                entry = self.rows[id_]
                metadata = json.loads(entry.metadata)
                if all(metadata.get(condition.field) in condition.values for condition in conditions):
                    score = self._score(vector, entry.vector)
                    hits.append(Hit(id=id_, score=score, metadata=metadata, position=entry.position))
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def count(self) -> int:
        self._before("count")
        return len(self._live_ids())

    def size(self) -> Size:
        self._before("size")
        return Size(held=0, bound=None)

    def count_unstamped(self) -> int:
        self._before("count_unstamped")
        base = base_position(self.collection.epoch)
        with self._lock:
            return sum(entry.position == base and not entry.deleted for entry in self.rows.values())

    def build_index(self) -> None:
        self._before("build_index")

    def index_ready(self) -> bool:
        return True

    def maintain(self) -> None:
        self._before("maintain")

    def close(self) -> None:
        self.closed = True

    def _apply_row(self, batch: EventBatch, row: int) -> Outcome:
        id_, op, position = batch.ids[row], Op(int(batch.ops[row])), int(batch.positions[row])
        outcome, _ = decide(self._state(id_), op, position)
        if outcome is Outcome.APPLIED:
            deleted = op is Op.DELETE
            vector = np.zeros_like(batch.vectors[row]) if deleted else batch.vectors[row].copy()
            text = b"" if deleted else batch.metadata[row]
            self.rows[id_] = Entry(position=position, deleted=deleted, vector=vector, metadata=text)
        return outcome

    def _state(self, id_: str) -> State:
        entry = self.rows.get(id_)
        if entry is None:
            return Absent()
        return Deleted(position=entry.position) if entry.deleted else Present(position=entry.position)

    def _mark(self, mark: Mark) -> None:
        if isinstance(mark, LiveMark):
            self.live[mark.partition] = max(mark.next_offset, self.live.get(mark.partition, 0))
            return
        before = self.snapshots.get((mark.run, mark.partition))
        if before is None or mark.next_offset > before.next_offset:
            self.snapshots[mark.run, mark.partition] = replace(mark, known=0)
        if mark.closed:
            self.complete.add(mark.partition)

    def _applied_to(self, mark: Mark) -> int:
        if isinstance(mark, LiveMark):
            return self.live.get(mark.partition, 0)
        before = self.snapshots.get((mark.run, mark.partition))
        return 0 if before is None else before.next_offset

    def _live_ids(self) -> list[str]:
        with self._lock:
            return sorted(id_ for id_, entry in self.rows.items() if not entry.deleted)

    def _after(self, after: str | None, limit: int) -> list[str]:
        ids = self._live_ids()
        start = 0 if after is None else bisect_right(ids, after)
        return ids[start : start + limit]

    def _rows(self, ids: Sequence[str]) -> Rows:
        entries = [self.rows[id_] for id_ in ids]
        return Rows(
            ids=list(ids),
            positions=np.array([entry.position for entry in entries], np.int64),
            deleted=np.array([entry.deleted for entry in entries], np.bool_),
            vectors=np.array([entry.vector for entry in entries], np.float32).reshape(
                len(entries), self.collection.space.dimension
            ),
            metadata=[entry.metadata for entry in entries],
        )

    def _score(self, query: NDArray[np.float32], vector: NDArray[np.float32]) -> float:
        match self.collection.space.metric:
            case "dot":
                return float(query @ vector)
            case "l2":
                return -float(np.linalg.norm(query - vector))
            case "cosine":
                return float(query @ vector / (np.linalg.norm(query) * np.linalg.norm(vector)))
