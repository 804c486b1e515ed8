"""The Protocol that every vector store implements.

A ``Store`` is one collection in one store: opening it binds connection, table and columns.
All methods block. They raise only the errors of ``vecferry.errors`` (``StoreError`` and its kinds, ``Refused``,
``Unavailable``). A ``Store`` is used by one thread at a time; open one per thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from ..errors import Fatal
from ..schemas.batch import Applied, EventBatch, Hit, Mark, Rows, SnapshotMark
from ..schemas.collection import IdType, Metric
from ..schemas.fields import RowFields
from ..schemas.filters import Condition, Operator


class Guarantee(StrEnum):
    """Who keeps two writers of one id apart."""

    ATOMIC = "atomic"  # the store: guard, ledger and row are one step, a zombie cannot write
    SINGLE_WRITER = "single-writer"  # only the ownership of the Kafka partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter promises; the contract suite holds it to that.

    guarantee         printed by ``doctor``, ``plan`` and ``start``
    id_types          preflight refuses a collection whose ids are of another type
    metrics           preflight refuses a collection of another metric
    filters           the reader refuses a filter that needs another operator
    vector_tolerance  how far a component may come back from what was written, as a share of the vector's largest one;
                      0 = bit by bit. ``verify`` calls two vectors equal within the larger one of both stores
    max_rows          the most rows that one ``apply`` takes, None = any number; the worker cuts what is larger
    max_bytes         the same for the bytes of ids (UTF-8), vectors and metadata together
    max_index_dimension  the most dimensions that an index holds, None = any number
    max_growth        at most that many times the space of a fresh copy is taken; None = the store sees to that itself
    """

    guarantee: Guarantee
    id_types: frozenset[IdType]
    metrics: frozenset[Metric]
    filters: frozenset[Operator]
    vector_tolerance: float = 0.0
    max_rows: int | None = None
    max_bytes: int | None = None
    max_growth: float | None = None
    max_index_dimension: int | None = None

    def no_index(self, dimension: int) -> str:
        """Why no index can be built for vectors of ``dimension``, or ""."""
        if self.max_index_dimension is None or dimension <= self.max_index_dimension:
            return ""
        return (
            f"no index is possible: it holds at most {self.max_index_dimension} dimensions, these vectors have "
            f"{dimension}, so every search reads every row"
        )


Cursor = JsonValue
"""A point in a store's rows, or a part of them, in the store's own terms.

Only the store that made it interprets it. It is JSON, because runs are journaled, and every later version of the
adapter understands it.
"""

MAX_CURSOR_BYTES = 8 * 1024  # of a chunk as JSON: enough for two of the longest ids with every byte escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPage:
    """``rows``: live rows, perhaps none; ``next``: where the export continues, None at its end."""

    rows: Rows
    next: Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes: ``held`` now (None = cannot be told), and ``bound``, which it should not outgrow (None = none is kept)."""

    held: int | None
    bound: int | None


def gap(mark: Mark, applied: int) -> Fatal:
    """The error for a store that has applied less than the ``known`` of ``mark``."""
    where = f"partition {mark.partition}" + (f" of run {mark.run}" if isinstance(mark, SnapshotMark) else "")
    return Fatal(
        f"the store has applied {where} up to offset {applied}, after it had acknowledged {mark.known}: it was made "
        "anew or restored, or a server took over that lacks the last writes; nothing was skipped: start the worker "
        "again, it goes on from where the store is"
    )


class Store(Protocol):
    """One collection in one store. Shapes and dtypes are those of ``schemas/batch.py``; d = the space's dimension.

    Every method but ``maintain`` and ``close`` may raise, besides what it names: Refused when the placement lacks what
    the method needs (no table, not enrolled), Unavailable when the store cannot be reached, Transient and Overloaded
    when the same call may pass later, Fatal for whatever the adapter does not know.
    """

    capabilities: Capabilities

    def check(self) -> tuple[str, ...]:
        """Why this placement cannot be enrolled or used: one line per problem, with the remedy. () = it can.

        A table that does not exist yet is fine (``create`` makes it). Changes nothing. Blocks while rows are read, once
        and only before enrolment.
        """
        ...

    def remarks(self) -> tuple[str, ...]:
        """What an operator should know of the server and the table, though it stands in nobody's way; a line each.

        Changes nothing. Blocks; may read all rows once.
        """
        ...

    def owner_statements(self, *, complete: bool) -> tuple[str, ...]:
        """What the owner of the table runs so that ``create`` needs no right to change it; () when nothing is left.

        In order, with the grants for the user of this connection. Changes nothing. Blocks as ``check`` does. Raises
        Refused for what no owner can run.
        """
        ...

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        """Make the table if absent, else enrol the existing one; idempotent. Returns the statements that were left to
        run, in order.

        Adds the position column, the ledger and the mark storage with ``applied = 0`` for each partition of the
        collection. ``complete`` sets the flag of every partition (True only for the store that is the source).
        Marks belong to the collection's epoch: marks of an earlier epoch are ignored, and new ones begin at 0.
        With ``dry_run`` nothing is changed. Blocks while the statements run; waits for locks of other sessions for some
        seconds at most. Raises Refused with the remedy: what ``check`` says, a lock, a missing privilege.
        """
        ...

    def fields(self) -> RowFields:
        """The types of the placement's columns, for publishers; every value that fits them ``apply`` takes.

        Blocks for some small reads: for enrolment and redrive.
        """
        ...

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        """Write ``batch`` (no id twice; may be empty) and then ``marks`` as one atomic step per id, guard included.

        Batches are within ``max_rows`` and ``max_bytes``. Blocks until the store has made the write durable; waits for
        another writer of the partition for some seconds at most, then raises Transient.
        Returns int8 [n] of Outcome APPLIED, STALE or DUPLICATE per row. Marks never move back, and none moves over a
        gap: a store whose own mark is below the ``known`` of a mark was made anew or restored, and raises Fatal
        (``gap``) without moving that mark. Raises Rejected (nothing written), Transient, Overloaded, Fatal (the batch
        may or may not be written: calling again with the same batch is safe).
        """
        ...

    def applied(self) -> Applied:
        """What the marks of the collection's epoch say, as of one moment; next offsets per partition and per run.

        A store that was never created has ``Applied(live={}, …)``. Blocks for one small read.
        """
        ...

    def highest_position(self) -> int | None:
        """The highest position of any row or remembered delete, of whatever epoch; None when there is none.

        Rows that predate the pipeline have none. Blocks while every position is read: for enrolment.
        """
        ...

    def fetch(self, ids: Sequence[str]) -> Rows:
        """The states of those ``ids`` that the store knows, deleted ones too, in no order; absent ids are left out.

        An id that is no id of the collection's type is absent. Sees at least everything that was applied before the
        call. Blocks. Raises Fatal for a row that cannot be read.
        """
        ...

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        """Chunks that together cover every id, present or future, of about ``rows_per_chunk`` rows; at least one.

        Each is at most MAX_CURSOR_BYTES as JSON, and is journaled: ``scan`` must understand it after a restart, in a
        later version, and while rows come and go. Blocks while the ids are read.
        """
        ...

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        """The live rows of a chunk, in pages of 1 to ``page_rows`` rows; the mover's path, built for speed.

        Sees at least everything that was applied before the first page was asked for. Deleted ids are not part of it.
        Blocks at each page; other methods may be called between two of them. Raises Fatal for a chunk that this kind
        of store did not make, and for a row that cannot be read. After an error, scan the whole chunk again.
        """
        ...

    def export(self, after: Cursor, limit: int) -> ExportPage:
        """At most ``limit`` live rows, from ``after`` (None: the beginning) on; the verifier's path.

        A walk from None until ``next`` is None meets each id that is live all the while. Only the handle that returned
        a cursor accepts it. Shares no code with ``scan`` below the connection: other statement, other decoding. Blocks.
        Raises Fatal for a cursor that this kind of store did not give, and for a row that cannot be read.
        """
        ...

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        """At most ``k`` live rows for ``vector`` (float32 [d], finite) that meet all ``conditions``, best first.

        Scores are those of the metric, higher is better: cosine similarity, inner product, minus the L2 distance. Exact
        without an index, approximate with one. ``conditions`` use operators of ``capabilities.filters`` alone. Sees at
        least everything that was applied before the call. Blocks up to ``timeout_s`` seconds, then raises Inconclusive.
        Raises InvalidRecord for a field that the placement cannot filter by.
        """
        ...

    def count(self) -> int:
        """The number of live rows. Blocks; may read all of them."""
        ...

    def size(self) -> Size:
        """What the collection takes in the store, indices and whatever else is kept for it included; 0 without a table.

        Blocks for a small read.
        """
        ...

    def count_unstamped(self) -> int:
        """The number of rows that predate the pipeline, enrolled or not; 0 for a table that does not exist.

        Blocks; may read every position: for enrolment.
        """
        ...

    def build_index(self) -> None:
        """Build the approximate index, if it is not there yet; called after the load. ``index_ready`` holds afterwards.

        Blocks until the index serves: minutes for a large collection. Writers and searches continue. Removes the
        remains of an interrupted build. Raises Refused when an index of another metric is in the way,
        Transient when other writers kept it from ending: call it again.
        """
        ...

    def index_ready(self) -> bool:
        """True when searches need no further index build, also when the collection is too small to want one.

        Blocks for a small read; changes nothing. Gates ask it before reads move.
        """
        ...

    def maintain(self) -> None:
        """Housekeeping that a worker calls between batches (compaction). Cheap when nothing is due, else it may block.

        Raises nothing: what fails is logged and left for later, because the batch is already in the store.
        """
        ...

    def close(self) -> None:
        """Release the connection; idempotent. Raises nothing; a later call of another method connects again."""
        ...
