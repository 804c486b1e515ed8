"""Columnar batches: what travels between decoder, ordering and store without one Python object per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import compress

import numpy as np
from numpy.typing import NDArray


class Op(IntEnum):
    """What an event asks for. The first three are the symbols of the Avro enum, in its order."""

    UPSERT = 0
    PATCH = 1  # reserved: consumers dead-letter it
    DELETE = 2
    SNAPSHOT = 3  # a row copied by a backfill, carrying the position that it has in its source


class Outcome(IntEnum):
    """The result of applying an event. Every consumed event gets exactly one."""

    APPLIED = 0
    SUPERSEDED = 1  # folded away by a newer event of the same id in the same batch
    STALE = 2  # the store already holds a newer state of the id
    DUPLICATE = 3  # the store already holds this very position
    DEAD_LETTERED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """n valid events, column by column. Row i of every column belongs to the same event.

    ids         list of n str, as published
    ops         int8 [n], values of :class:`Op` without PATCH
    partitions  int32 [n], the live partition of the id
    positions   int64 [n]
    vectors     float32 [n, d], C-contiguous, finite; the rows of deletes are zero
    metadata    list of n bytes: JSON object as UTF-8 text; b"" for deletes
    """

    ids: list[str]
    ops: NDArray[np.int8]
    partitions: NDArray[np.int32]
    positions: NDArray[np.int64]
    vectors: NDArray[np.float32]
    metadata: list[bytes]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> EventBatch:
        """A new batch of the given rows, in the given order."""
        return EventBatch(
            ids=[self.ids[i] for i in rows],
            ops=self.ops[rows],
            partitions=self.partitions[rows],
            positions=self.positions[rows],
            vectors=np.ascontiguousarray(self.vectors[rows]),
            metadata=[self.metadata[i] for i in rows],
        )

    @staticmethod
    def joined(parts: Sequence[EventBatch]) -> EventBatch:
        """The events of all ``parts`` (at least one), in order, with vectors in memory of their own.

        A single part is returned without a copy if its vectors are aligned; those of a snapshot block rarely are.
        """
        if len(parts) == 1 and parts[0].vectors.flags.aligned:
            return parts[0]
        return EventBatch(
            ids=[id_ for part in parts for id_ in part.ids],
            ops=np.concatenate([part.ops for part in parts]),
            partitions=np.concatenate([part.partitions for part in parts]),
            positions=np.concatenate([part.positions for part in parts]),
            vectors=np.concatenate([part.vectors for part in parts]),
            metadata=[text for part in parts for text in part.metadata],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """n states of ids as a store holds them, column by column.

    ids        list of n str
    positions  int64 [n]; a row that predates the pipeline counts as BASE of the collection's epoch
    deleted    bool [n]; True for an id that the store remembers as deleted (its vector row is zero, its metadata b"")
    vectors    float32 [n, d], C-contiguous; NaN throughout for a live row that has no vector of d dimensions
    metadata   list of n bytes: JSON object as UTF-8 text
    filtered   the same, as the filters of searches see it, where a store keeps that beside the metadata; None: filters
               read the metadata itself
    """

    ids: list[str]
    positions: NDArray[np.int64]
    deleted: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    metadata: list[bytes]
    filtered: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """The rows for which ``chosen`` (bool [n]) is True, in their order."""
        if chosen.all():
            return self
        picked = chosen.tolist()
        return Rows(
            ids=list(compress(self.ids, picked)),
            positions=self.positions[chosen],
            deleted=self.deleted[chosen],
            vectors=self.vectors[chosen],
            metadata=list(compress(self.metadata, picked)),
            filtered=None if self.filtered is None else list(compress(self.filtered, picked)),
        )

    def since(self, start: int) -> Rows:
        """The rows from number ``start`` on; shares their memory."""
        return Rows(
            ids=self.ids[start:],
            positions=self.positions[start:],
            deleted=self.deleted[start:],
            vectors=self.vectors[start:],
            metadata=self.metadata[start:],
        )

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """The rows of all ``parts`` (at least one), in order."""
        if len(parts) == 1:
            return parts[0]
        return Rows(
            ids=[id_ for part in parts for id_ in part.ids],
            positions=np.concatenate([part.positions for part in parts]),
            deleted=np.concatenate([part.deleted for part in parts]),
            vectors=np.concatenate([part.vectors for part in parts]),
            metadata=[text for part in parts for text in part.metadata],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMark:
    """After this batch, the store has applied its live ``partition`` up to (excluding) ``next_offset``.

    ``known``: the offset up to which the store must already have applied the partition. 0 means: do not check. A mark
    that was read from a store has 0.
    """

    partition: int
    next_offset: int
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMark:
    """After this batch, the store has applied partition ``partition`` of snapshot ``run`` up to ``next_offset``.

    Written only at the end of a chunk. ``next_chunk`` is the number of chunks applied without a gap; ``closed`` is True
    once the run's closing marker was applied: the store's partition then is complete. ``known``: as in ``LiveMark``, of
    the run's partition; it is the ``next_offset`` of the chunk before.
    """

    run: str
    partition: int
    next_offset: int
    next_chunk: int
    closed: bool = False
    known: int = 0


Mark = LiveMark | SnapshotMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How far a store has applied a collection, as the store itself remembers it.

    live       partition -> next offset to apply
    complete   live partitions that hold a full copy (a source at enrolment, a target after a run's closing marker)
    snapshots  (run, partition) -> its mark
    """

    live: dict[int, int]
    complete: frozenset[int]
    snapshots: dict[tuple[str, int], SnapshotMark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One search result. ``score``: higher is better; cosine similarity, inner product or minus the L2 distance."""

    id: str
    score: float
    metadata: dict[str, object]
    position: int
