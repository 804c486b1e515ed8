"""The LanceDB adapter: ``Store`` over the modules beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...clock import SYSTEM_CLOCK, Clock
from ...errors import Rejected, Transient, Unavailable, VecferryError
from ...schemas.batch import Applied, EventBatch, Hit, Mark, Rows
from ...schemas.collection import Collection, Placement
from ...schemas.fields import RowFields
from ...schemas.filters import Condition, Operator
from ..base import Capabilities, Cursor, ExportPage, Guarantee, Size
from ..key_ranges import KeyRange, key_of
from . import altered, apply, check, enrol, read, search
from .errors import DiskFull, Gone, translated
from .fields import fields_of
from .housekeeping import Housekeeping
from .table import Connection

log = logging.getLogger(__name__)

CAPABILITIES = Capabilities(
    guarantee=Guarantee.ATOMIC,
    id_types=frozenset({"text", "bigint", "uuid"}),  # all of them as text
    metrics=frozenset({"cosine", "dot", "l2"}),
    filters=frozenset(Operator),
)
INDEX_TRIES = 10
SCAN_TRIES = 3  # without a row between them

T = TypeVar("T")


class LanceStore:
    """One collection in one Lance table. Blocks; one thread at a time; not across a fork."""

    def __init__(
        self,
        uri: str,
        collection: Collection,
        placement: Placement,
        *,
        max_growth: float = 4.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.capabilities = replace(CAPABILITIES, max_growth=max_growth)
        self._connection = Connection(uri, collection, placement)
        self._where = self._connection.where
        self._listing: read.Listing | None = None
        self._clock = clock
        self._housekeeping = Housekeeping(self._connection, clock, max_growth)

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

    def _read(self, call: Callable[[], T]) -> T:
        """``call``, once more on the latest version if the files of its own were cleaned up meanwhile."""
        try:
            with self._use():
                return call()
        except Gone:
            with self._use():
                return call()

    def _with_room(self, call: Callable[[], T]) -> T:
        """``call``, once more when what old versions hold of a full disk was freed."""
        try:
            return call()
        except DiskFull:
            with suppress(VecferryError), self._use():  # whatever keeps it from that, the disk is what is full
                self._housekeeping.make_room()
            return call()

    def check(self) -> tuple[str, ...]:
        with self._use():
            return check.problems(self._connection)

    def remarks(self) -> tuple[str, ...]:
        return ()

    def owner_statements(self, *, complete: bool) -> tuple[str, ...]:
        return ()  # a directory or a bucket has no owner who could run them

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        return self._with_room(lambda: self._create(complete, dry_run))

    def _create(self, complete: bool, dry_run: bool) -> tuple[str, ...]:
        with self._use():
            return enrol.create(self._connection, complete=complete, dry_run=dry_run)

    def fields(self) -> RowFields:
        with self._use():
            return fields_of(self._connection.layout())

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        outcomes = self._with_room(lambda: self._apply(batch, marks))
        self._housekeeping.wrote(batch.vectors.nbytes + sum(map(len, batch.metadata)))
        return outcomes

    def _apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        with self._use():
            try:
                with translated(self._where):
                    return apply.apply(self._connection, batch, marks)
            except Rejected:
                altered.refuse_changed(self._connection)
                raise

    def applied(self) -> Applied:
        return self._read(lambda: read.applied(self._connection))

    def highest_position(self) -> int | None:
        return self._read(lambda: read.highest_position(self._connection))

    def fetch(self, ids: Sequence[str]) -> Rows:
        return self._read(lambda: read.fetch(self._connection, ids))

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        return self._read(lambda: read.plan_chunks(self._connection, rows_per_chunk))

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        """A page whose version was cleaned up is followed by the rows of the latest one that were not given yet."""
        keys, given, left = KeyRange.of(chunk), set[str](), SCAN_TRIES
        while True:
            try:
                with self._use():
                    for rows in read.scan(self._connection, keys, page_rows, frozenset(given)):
                        given.update(rows.ids)
                        left = SCAN_TRIES
                        yield rows
                return
            except Gone:
                left -= 1
                if not left:
                    raise

    def export(self, after: Cursor, limit: int) -> ExportPage:
        return self._read(lambda: self._export(after, limit))

    def _export(self, after: Cursor, limit: int) -> ExportPage:
        rows, self._listing = read.export(self._connection, self._listing, key_of(after), limit)
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        deadline_s = self._clock.monotonic_s() + timeout_s
        return self._read(
            lambda: search.search(self._connection, vector, k, conditions, deadline_s - self._clock.monotonic_s())
        )

    def count(self) -> int:
        return self._read(lambda: read.count(self._connection))

    def size(self) -> Size:
        return self._read(self._housekeeping.size)

    def count_unstamped(self) -> int:
        return self._read(lambda: read.count_unstamped(self._connection))

    def build_index(self) -> None:
        """Build it, again when another process merged files or indexed meanwhile. Raises Transient after ten tries."""
        for left in reversed(range(INDEX_TRIES)):
            try:
                self._with_room(self._build_index)
                return
            except Transient as conflict:
                if not left:
                    raise
                log.info("building the index again: %s", conflict)

    def _build_index(self) -> None:
        with self._use():
            search.build_index(self._connection)

    def index_ready(self) -> bool:
        return self._read(lambda: search.index_ready(self._connection))

    def maintain(self) -> None:
        """See ``Store.maintain``, and ``housekeeping.py``."""
        self._housekeeping.tidy()

    def close(self) -> None:
        self._listing = None
        self._connection.close()
