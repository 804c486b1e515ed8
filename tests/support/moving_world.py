"""Two stores fed by one log, in memory, driven by a seed: the world moves at every store call and at every sleep."""

from __future__ import annotations

import random

import numpy as np
from memory_store import MemoryStore
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import encode_position

DIMENSION = 4


class MovingWorld:
    """A log with a writer, two workers that lag behind it, and a clock that moves only when somebody sleeps.

    ``pace`` events are published at each move, to ids that are not in ``quiet``; 0 = nobody writes.
    """

    def __init__(
        self, seed: int, ids: list[str], *, pace: int, partitions: int = 3, quiet: frozenset[str] = frozenset()
    ) -> None:
        space = Space(model="m", version="1", dimension=DIMENSION, metric="cosine")
        self.collection = Collection(name="products", space=space, partitions=partitions)
        self.random = random.Random(seed)
        self.pace = pace
        self.now_s = 0.0
        self.stalled: set[str] = set()
        self.source = MemoryStore(self.collection)
        self.target = MemoryStore(self.collection)
        self._ids = sorted(set(ids) - quiet)
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
        for name, store in (("source", self.source), ("target", self.target)):
            for partition in range(self.collection.partitions):
                if name not in self.stalled and self.random.random() < 0.7:
                    self._work(store, partition)

    def _publish(self) -> None:
        # Some ids are hot, some are new, some go and come back.
        chosen = min(int(self.random.paretovariate(0.7)), len(self._ids)) - 1
        id_ = self.random.choice(self._ids) if self.random.random() < 0.5 else self._ids[chosen]
        if self.random.random() < 0.1:
            id_ = f"new-{self.random.randrange(50)}"
        op = Op.DELETE if self.random.random() < 0.3 else Op.UPSERT
        self._log[int(partitions_of([id_], self.collection.partitions)[0])].append(
            (id_, op, self.random.randrange(1, 9))
        )

    def _work(self, store: MemoryStore, partition: int) -> None:
        start = store.live[partition]
        end = min(len(self._log[partition]), start + self.random.randint(0, 5 * self.pace + 1))
        for offset in range(start, end):
            id_, op, version = self._log[partition][offset]
            batch = EventBatch(
                ids=[id_],
                ops=np.array([op], np.int8),
                partitions=np.array([partition], np.int32),
                positions=np.array([encode_position(self.collection.epoch, offset)], np.int64),
                vectors=vector_of(id_, version)[None],
                metadata=[metadata_of(id_, version)],
            )
            store.apply(batch, [LiveMark(partition=partition, next_offset=offset + 1)])


def vector_of(id_: str, version: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The vector that ``version`` of an id has."""
    seed = sum(id_.encode()) * 31 + version
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def metadata_of(id_: str, version: int) -> bytes:
    """The metadata that ``version`` of an id has."""
    return f'{{"id":"{id_}","version":{version}}}'.encode()
