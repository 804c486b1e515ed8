"""The LanceDB adapter: ``Store`` over the modules beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ...clock import SYSTEM_CLOCK, Clock
from ...errors import Transient, Unavailable, VecferryError
from ...schemas.batch import Applied, EventBatch, Hit, Mark, Rows
from ...schemas.collection import Collection, Placement
from ...schemas.filters import Condition, Operator
from ..base import Capabilities, Cursor, ExportPage, Guarantee
from ..key_ranges import KeyRange, key_of
from . import check, enrol, read, search
from .altered import apply_as_it_is
from .errors import translated
from .table import Connection

log = logging.getLogger(__name__)

CAPABILITIES = Capabilities(
    guarantee=Guarantee.ATOMIC,
    id_types=frozenset({"text", "bigint", "uuid"}),  # all of them as text
    metrics=frozenset({"cosine", "dot", "l2"}),
    filters=frozenset(Operator),
)
COMMITS_PER_COMPACTION = 50
COMMITS_AWAITING_INDEX = 1_000  # a loaded table is left alone for so many commits, for its first index to be built
INDEX_TRIES = 10
SAY_AGAIN_S = 600.0

# Dropping a version fails the scans that still read it, and removes history in which Lance finds the conflicts of a
# suspended merge. Keeping a version keeps the files that compaction has replaced, up to a million rows. So a table that
# is compacted every hour keeps the versions of a day. One that is compacted every few seconds keeps them only for as
# long as a scan of one chunk, or a page of an export, may take.
KEEP_AT_LEAST_S = 15 * 60.0
KEEP_AT_MOST_S = 24 * 3_600.0
KEPT_COMPACTIONS = 20
KEEP_ALL = timedelta(days=36_500)


class LanceStore:
    """One collection in one Lance table. Blocks; one thread at a time; not across a fork."""

    capabilities = CAPABILITIES

    def __init__(self, uri: str, collection: Collection, placement: Placement, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._connection = Connection(uri, collection, placement)
        self._where = self._connection.where
        self._listing: read.Listing | None = None
        self._commits = 0
        self._clock = clock
        self._compacted_s = clock.monotonic_s()
        self._silent_until_s = float("-inf")

    @contextmanager
    def _use(self) -> Iterator[None]:
        """Errors of ours only. After one the table is opened again: it may be another one of the same name by now."""
        try:
            with translated(self._where):
                yield
        except (Transient, Unavailable):
            self._connection.close()
            self._listing = None  # its version may be the one that is gone
            raise

    def check(self) -> tuple[str, ...]:
        with self._use():
            return check.problems(self._connection)

    def remarks(self) -> tuple[str, ...]:
        return ()

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        with self._use():
            return enrol.create(self._connection, complete=complete, dry_run=dry_run)

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        with self._use():
            outcomes = apply_as_it_is(self._connection, batch, marks)
        self._commits += 1
        return outcomes

    def applied(self) -> Applied:
        with self._use():
            return read.applied(self._connection)

    def highest_position(self) -> int | None:
        with self._use():
            return read.highest_position(self._connection)

    def fetch(self, ids: Sequence[str]) -> Rows:
        with self._use():
            return read.fetch(self._connection, ids)

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        with self._use():
            return read.plan_chunks(self._connection, rows_per_chunk)

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        with self._use():
            yield from read.scan(self._connection, KeyRange.of(chunk), page_rows)

    def export(self, after: Cursor, limit: int) -> ExportPage:
        with self._use():
            rows, self._listing = read.export(self._connection, self._listing, key_of(after), limit)
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        with self._use():
            return search.search(self._connection, vector, k, conditions, timeout_s)

    def count(self) -> int:
        with self._use():
            return read.count(self._connection)

    def count_unstamped(self) -> int:
        with self._use():
            return read.count_unstamped(self._connection)

    def build_index(self) -> None:
        """Build it, again when another process merged files or indexed meanwhile. Raises Transient after ten tries."""
        for left in reversed(range(INDEX_TRIES)):
            try:
                with self._use():
                    search.build_index(self._connection)
                return
            except Transient as conflict:
                if not left:
                    raise
                log.info("building the index again: %s", conflict)

    def index_ready(self) -> bool:
        with self._use():
            return search.index_ready(self._connection)

    def maintain(self) -> None:
        """Merge small files, add new rows to the index, drop old versions; every 50 commits. Raises nothing.

        Every commit adds a file, and searches and merges become slower with their number. If another process commits
        meanwhile, that commit wins and this work is put off. It is also put off while a loaded table has no index yet:
        merging files during the build of an index would make the build start again. While any version is tagged, none
        is dropped.
        """
        if self._commits == 0 or self._commits % COMMITS_PER_COMPACTION:
            return
        try:
            with self._use():
                if self._commits < COMMITS_AWAITING_INDEX and self._awaits_index():
                    return
                self._commits = 0
                table = self._connection.latest()
                table.optimize(cleanup_older_than=KEEP_ALL if table.tags.list() else self._keep())
                self._compacted_s = self._clock.monotonic_s()
        except Transient as conflict:
            log.info("compaction put off: %s", conflict)
        except VecferryError as error:  # the batch is in the table: nothing that is wrong here may end a worker
            self._commits = 0
            self._say(error)

    def _keep(self) -> timedelta:
        apart_s = self._clock.monotonic_s() - self._compacted_s
        return timedelta(seconds=min(max(KEPT_COMPACTIONS * apart_s, KEEP_AT_LEAST_S), KEEP_AT_MOST_S))

    def _say(self, error: VecferryError) -> None:
        now_s = self._clock.monotonic_s()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + SAY_AGAIN_S
            log.warning("%s is not compacted, which makes it slower and larger: %s", self._where, error)

    def _awaits_index(self) -> bool:
        partitions = self._connection.collection.partitions
        return search.lacks_index(self._connection) and len(read.applied(self._connection).complete) == partitions

    def close(self) -> None:
        self._listing = None
        self._connection.close()
