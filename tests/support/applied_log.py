"""What a worker has done of a ``log_world.World``, seen from outside."""

from __future__ import annotations

import numpy as np
from log_world import NAME, PARTITIONS, World
from memory_store import MemoryStore
from vecferry.journal.progress import WorkerProgress, worker_progress_key
from vecferry.schemas.batch import Rows


def settled(log: World, store: MemoryStore) -> bool:
    """Whether the store has applied everything that is in the live topic."""
    ends = log.admin.end_offsets(log.topic, PARTITIONS)
    return all(store.live[partition] >= end for partition, end in enumerate(ends))


def values(store: MemoryStore) -> dict[str, float]:
    """id → first component of its vector, of the rows that are there."""
    return {id_: float(entry.vector[0]) for id_, entry in dict(store.rows).items() if not entry.deleted}


def counters(log: World, instance: str = "one") -> WorkerProgress:
    """What the worker ``instance`` has counted by now."""
    log.progress.sync()
    record = log.progress.get(worker_progress_key(NAME, "new", instance))
    assert record is not None
    return WorkerProgress.model_validate_json(record)


def consumed(log: World, instance: str) -> int:
    """How many live events the worker ``instance`` says to have given an outcome."""
    record = log.progress.get(worker_progress_key(NAME, "new", instance))
    return 0 if record is None else sum(WorkerProgress.model_validate_json(record).live.values())


def rows_of(ids: list[str], position: int, value: float) -> Rows:
    """Rows of a source, all at ``position`` and with ``value`` in every component."""
    n = len(ids)
    return Rows(
        ids=ids,
        positions=np.full(n, position, np.int64),
        deleted=np.zeros(n, np.bool_),
        vectors=np.full((n, 4), value, np.float32),
        metadata=[b"{}"] * n,
    )
