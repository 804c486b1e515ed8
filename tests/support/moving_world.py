"""Two stores fed by one log, in memory, driven by a seed: the world moves at every store call and at every sleep."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from memory_store import Entry, MemoryStore
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Rows
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import base_position, encode_position
from vecferry.stores.base import Cursor, ExportPage
from vecferry.stores.key_ranges import key_of

DIMENSION = 4


class CarelessStore(MemoryStore):
    """A store without a key: the rows of ``twice`` lie in it side by side, under one id."""

    def __init__(self, collection: Collection) -> None:
        super().__init__(collection)
        self.twice: dict[str, tuple[Entry, Entry]] = {}

    def _entries(self) -> list[tuple[str, Entry]]:
        once = ((id_, (entry,)) for id_, entry in self.rows.items() if id_ not in self.twice)
        found = [*once, *self.twice.items()]
        return sorted(((id_, entry) for id_, entries in found for entry in entries), key=lambda pair: pair[0])

    def fetch(self, ids: Sequence[str]) -> Rows:
        if not self.twice:
            return super().fetch(ids)
        wanted = set(ids)
        return self._as_rows([pair for pair in self._entries() if pair[0] in wanted])

    def export(self, after: Cursor, limit: int) -> ExportPage:
        if not self.twice:
            return super().export(after, limit)
        key = key_of(after)
        found = [pair for pair in self._entries() if not pair[1].deleted and (key is None or pair[0] > key)]
        rows = self._as_rows(found[:limit])
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def _as_rows(self, found: list[tuple[str, Entry]]) -> Rows:
        return Rows(
            ids=[id_ for id_, _ in found],
            positions=np.array([entry.position for _, entry in found], np.int64),
            deleted=np.array([entry.deleted for _, entry in found], np.bool_),
            vectors=np.array([entry.vector for _, entry in found], np.float32).reshape(len(found), DIMENSION),
            metadata=[entry.metadata for _, entry in found],
        )


class MovingWorld:
    """A log with a writer, two workers that lag behind it, and a clock that moves only when somebody sleeps.

    ``pace`` events are published at each move, to ids that are not in ``quiet``; 0 = nobody writes. On top of it,
    ``hot`` is written about ``hot_writes`` times at each move.

    stalled   the stores whose workers do nothing until ``stalled_until_s``
    trailing  the stores whose workers always stay that many events behind, by partition
    spoiled   what the worker of a store makes of the events of ``hot``: "stale" takes in the first one alone, "missing"
              none, "corrupt" all of them with another vector
    """

    def __init__(
        self,
        seed: int,
        ids: list[str],
        *,
        pace: int,
        partitions: int = 3,
        quiet: frozenset[str] = frozenset(),
        hot: str = "",
        hot_writes: int = 0,
        hot_deletes: float = 0.3,
    ) -> None:
        space = Space(model="m", version="1", dimension=DIMENSION, metric="cosine")
        self.collection = Collection(name="products", space=space, partitions=partitions)
        self.random = random.Random(seed)
        self.pace = pace
        self.now_s = 0.0
        self.stalled: set[str] = set()
        self.stalled_until_s = math.inf
        self.trailing: dict[str, int] = {}
        self.spoiled: dict[str, str] = {}
        self.source = CarelessStore(self.collection)
        self.target = CarelessStore(self.collection)
        self._hot, self._hot_writes, self._hot_deletes = hot, hot_writes, hot_deletes
        self._ids = sorted(set(ids) - quiet - {hot})
        self._log: list[list[tuple[str, Op, int]]] = [[] for _ in range(partitions)]
        for store in (self.source, self.target):
            store.create(complete=True)
            store.load(ids, np.stack([vector_of(id_, 0) for id_ in ids]), [metadata_of(id_, 0) for id_ in ids])
            store._before = self._move

    def ends(self) -> tuple[int, ...]:
        """End offsets of the log."""
        return tuple(map(len, self._log))

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds
        self._move("sleep")

    def _move(self, method: str) -> None:
        if method == "apply":
            return
        for _ in range(self.random.randint(0, 2 * self.pace)):
            self._publish()
        for _ in range(self.random.randint(0, 2 * self._hot_writes)):
            self._append(self._hot, self._hot_deletes)
        for name, store in (("source", self.source), ("target", self.target)):
            for partition in range(self.collection.partitions):
                stalled = name in self.stalled and self.now_s < self.stalled_until_s
                if not stalled and self.random.random() < 0.7:
                    end = len(self._log[partition]) - self.trailing.get(name, 0)
                    self._work(store, partition, end, self.spoiled.get(name, ""))

    def _publish(self) -> None:
        # Some ids are hot, some are new, some go and come back.
        chosen = min(int(self.random.paretovariate(0.7)), len(self._ids)) - 1
        id_ = self.random.choice(self._ids) if self.random.random() < 0.5 else self._ids[chosen]
        if self.random.random() < 0.1:
            id_ = f"new-{self.random.randrange(50)}"
        self._append(id_, 0.3)

    def _append(self, id_: str, deletes: float) -> None:
        op = Op.DELETE if self.random.random() < deletes else Op.UPSERT
        self._log[int(partitions_of([id_], self.collection.partitions)[0])].append(
            (id_, op, self.random.randrange(1, 9))
        )

    def _work(self, store: MemoryStore, partition: int, end: int, spoiled: str) -> None:
        start = store.live[partition]
        most = 5 * (self.pace + self._hot_writes) + 1
        for offset in range(start, min(end, start + self.random.randint(0, most))):
            id_, op, version = self._log[partition][offset]
            batch = EventBatch(
                ids=[id_],
                ops=np.array([op], np.int8),
                partitions=np.array([partition], np.int32),
                positions=np.array([encode_position(self.collection.epoch, offset)], np.int64),
                vectors=vector_of(id_, version)[None],
                metadata=[metadata_of(id_, version)],
            )
            if spoiled and id_ == self._hot:
                batch = self._spoil(store, batch, spoiled)
            store.apply(batch, [LiveMark(partition=partition, next_offset=offset + 1)])

    def _spoil(self, store: MemoryStore, batch: EventBatch, how: str) -> EventBatch:
        if how == "corrupt":
            return replace(batch, vectors=batch.vectors + np.float32(1e-3))
        if how == "missing":
            store.rows.pop(self._hot, None)
        is_first = how == "stale" and store.rows[self._hot].position == base_position(self.collection.epoch)
        return batch if is_first else batch.take(np.array([], np.intp))


def vector_of(id_: str, version: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The vector that ``version`` of an id has."""
    seed = sum(id_.encode()) * 31 + version
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def metadata_of(id_: str, version: int) -> bytes:
    """The metadata that ``version`` of an id has."""
    return f'{{"id":"{id_}","version":{version}}}'.encode()
