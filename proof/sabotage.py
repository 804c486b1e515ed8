"""Runs one command over a store that breaks a promise: ``python -m vecferry.proof.sabotage KIND COMMAND …``.

The store that the command opens is wrapped in this process alone.

drop-delete     half of the deletes are answered as applied and never written
stale-write     now and then the state before last is put over a newer row, past the guard
corrupt-vector  a component of some vectors is changed on its way into the store
skip-chunk      the scan of one chunk of the copy yields nothing
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..schemas.batch import EventBatch, Mark, Op, Outcome, Rows
from ..stores import registry
from ..stores.base import Cursor

_DROPPED_SHARE = 0.5
_STALE_SHARE = 0.05
_CORRUPT_SHARE = 0.02
_SKIPPED_CHUNK = 2  # counted over the scans of one process


class Wrapped:
    """A store, one of whose methods is replaced; everything else goes through."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._random = random.Random(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _chosen(self, rows: Sequence[int], share: float) -> list[int]:
        return [row for row in rows if self._random.random() < share]


class DropsDeletes(Wrapped):
    """See the module."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        """As ``Store.apply``, without some of the deletes."""
        dropped = self._chosen(np.flatnonzero(batch.ops == Op.DELETE).tolist(), _DROPPED_SHARE)
        kept = np.setdiff1d(np.arange(len(batch)), dropped)
        outcomes = np.full(len(batch), Outcome.APPLIED, np.int8)
        outcomes[kept] = self._store.apply(batch.take(kept), marks)
        return outcomes


class WritesStale(Wrapped):
    """See the module."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        """As ``Store.apply``; afterwards some rows are as they were before."""
        rows = self._chosen(np.flatnonzero(batch.ops == Op.UPSERT).tolist(), _STALE_SHARE)
        before = self._raw([batch.ids[row] for row in rows]) if rows else None
        outcomes: NDArray[np.int8] = self._store.apply(batch, marks)
        if before is not None and before.num_rows:
            self._table().merge_insert("id").when_matched_update_all().execute(before, on_bad_vectors="null")
        return outcomes

    def _raw(self, ids: Sequence[str]) -> pa.Table:
        wanted = ", ".join("'" + id_.replace("'", "''") + "'" for id_ in ids)
        return self._table().search().where(f"id IN ({wanted})").limit(len(ids)).to_arrow()

    def _table(self) -> Any:
        import lancedb

        return lancedb.connect(self._store._connection.uri).open_table("products")


class CorruptsVectors(Wrapped):
    """See the module."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        """As ``Store.apply``, with a component of some vectors moved."""
        rows = self._chosen(np.flatnonzero(batch.ops != Op.DELETE).tolist(), _CORRUPT_SHARE)
        changed = batch.take(np.arange(len(batch)))
        changed.vectors[rows, 7] += np.float32(0.25)
        outcomes: NDArray[np.int8] = self._store.apply(changed, marks)
        return outcomes


class SkipsChunk(Wrapped):
    """See the module."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self._scans = 0

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        """As ``Store.scan``, but one chunk is empty."""
        self._scans += 1
        if self._scans != _SKIPPED_CHUNK:
            yield from self._store.scan(chunk, page_rows)


KINDS: Mapping[str, Callable[[Any], Wrapped]] = {
    "drop-delete": DropsDeletes,
    "stale-write": WritesStale,
    "corrupt-vector": CorruptsVectors,
    "skip-chunk": SkipsChunk,
}


def main() -> int:
    """Wrap what the registry opens, then run the command as if nothing were wrong."""
    wrap, argv = KINDS[sys.argv[1]], sys.argv[2:]
    open_store = registry.open_store
    registry.open_store = lambda *args: wrap(open_store(*args))  # before the command line imports it by name
    from ..cli.main import main as vecferry

    return vecferry(argv)


if __name__ == "__main__":
    sys.exit(main())
