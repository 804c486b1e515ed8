"""The ``Store`` over one PostgreSQL table with a pgvector column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from numpy.typing import NDArray
from psycopg import ProgrammingError
from psycopg.errors import QueryCanceled, UndefinedColumn, UndefinedTable

from ...errors import Fatal, Inconclusive, Refused, Rejected, Transient, Unavailable
from ...schemas.batch import Applied, EventBatch, Hit, Mark, Rows
from ...schemas.collection import Collection, Placement
from ...schemas.fields import RowFields
from ...schemas.filters import Condition, Operator
from ..base import Capabilities, Cursor, ExportPage, Guarantee, Size
from ..key_ranges import KeyRange, key_of
from . import blocking, contents, enrol, indexing, limits, mapping, read, shape
from . import search as searches
from .apply import Altered, write_batch
from .catalog import Table, read_table
from .connection import Connection, Session, run, transaction
from .enrol import Steps
from .fields import read_fields
from .judging import Judged, judge, placement_remarks, row_problems
from .layout import Layout, quote
from .marks import held_bytes, read_marks
from .remedies import remedied
from .resolved import Resolved, resolve
from .wire.arrays import MAX_BYTES


def _enrolled(table: Table | None) -> bool:
    return table is not None and mapping.POSITION in table.columns


LOOKS = 3  # at a table that somebody alters at this very moment
CAPABILITIES = Capabilities(
    guarantee=Guarantee.ATOMIC,
    id_types=frozenset({"text", "bigint", "uuid"}),
    metrics=frozenset(mapping.METRICS),
    filters=frozenset(Operator),
    max_bytes=MAX_BYTES,
    max_index_dimension=mapping.MAX_INDEX_DIMENSION,
)


class PgvectorStore:
    """See ``stores/base.py`` for every method."""

    capabilities = CAPABILITIES

    def __init__(self, url: str, collection: Collection, placement: Placement) -> None:
        self._url = url
        self._session = Session(url)
        self._collection = collection
        self._placement = placement
        self._parts = mapping.table_parts(placement.table)
        self._resolved: Resolved | None = None
        self._first_shape: shape.Shape | None = None

    def check(self) -> tuple[str, ...]:
        with self._use() as connection, self._refusals(connection), transaction(connection):
            judged = self._judge(connection)
            if judged.problems:
                return judged.problems
            rights = judged.rights(connection, self._steps(connection, judged, complete=False))
            return (*rights, *judged.privileges, *row_problems(connection, judged))

    def remarks(self) -> tuple[str, ...]:
        with self._use() as connection, self._refusals(connection):
            found = limits.remarks(connection)
            with transaction(connection):
                return (*found, *placement_remarks(connection, self._judge(connection)))

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        try:
            with (
                self._use() as connection,
                self._refusals(connection),
                transaction(connection, lock_timeout_s=enrol.LOCK_TIMEOUT_S),
            ):
                # Two processes may enrol at once: IF NOT EXISTS alone is no protection against that.
                run(connection, "SELECT pg_advisory_xact_lock(hashtext($1))", [f"vecferry {self._placement.table}"])
                judged = self._judge(connection)
                if judged.problems:
                    raise Refused(judged.problems)
                steps = self._steps(connection, judged, complete=complete)
                rights = judged.rights(connection, steps)
                if problems := (*rights, *judged.privileges, *row_problems(connection, judged)):
                    raise Refused(problems)
                for statement in () if dry_run else steps.all:
                    run(connection, statement)
                return steps.all
        finally:
            self._resolved = None

    def fields(self) -> RowFields:
        with self._use() as connection, transaction(connection):
            judged = self._judge(connection)
            if judged.problems or judged.table is None:
                raise Refused(judged.problems or f"table {self._placement.table} does not exist")
            return read_fields(connection, judged.table.oid, self._placement)

    def owner_statements(self, *, complete: bool) -> tuple[str, ...]:
        with self._use() as connection, self._refusals(connection), transaction(connection):
            judged = self._judge(connection)
            if problems := judged.problems or row_problems(connection, judged):
                raise Refused(problems)
            steps = self._steps(connection, judged, complete=complete, as_owner=True)
            if not steps.ddl and not judged.privileges:
                return ()
            return (
                "BEGIN",
                f"SET LOCAL lock_timeout = '{enrol.LOCK_TIMEOUT_S}s'",
                *steps.all,
                *enrol.grants(judged.parts, judged.server.user),
                "COMMIT",
            )

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        try:
            return self._apply(batch, marks)
        except Unavailable as error:
            raise Transient(str(error)) from error
        except Rejected as error:
            if self._resolved is None or not self._resolved.changed:
                raise
            name = self._collection.name
            raise Refused(
                f"table {self._placement.table} was altered after its enrolment, and events no longer fit it: "
                f"{'; '.join(self._resolved.changed)}; none was skipped: undo that, or, as its owner, run `vecferry "
                f"enrol {name}` to have a dead letter of each event that does not fit; then start the worker again"
            ) from error

    def applied(self) -> Applied:
        with self._use() as connection:
            try:
                with transaction(connection):
                    return read_marks(connection, self._parts, self._collection.epoch)
            except UndefinedTable:
                return Applied(live={}, complete=frozenset(), snapshots={})

    def highest_position(self) -> int | None:
        with self._use() as connection, transaction(connection):
            table = read_table(connection, self._parts)
            if table is None:
                return None
            # Each alone, because somebody may have dropped one of the two by hand.
            places = [(quote(table.schema, table.name), mapping.POSITION)] if mapping.POSITION in table.columns else []
            ledger = quote(table.schema, mapping.companion(table.name, "deleted"))
            if run(connection, "SELECT to_regclass($1) IS NOT NULL", [ledger]).fetchone() == (True,):
                places.append((ledger, "position"))
            highest = [run(connection, f"SELECT max({column}) FROM {name}").fetchone() for name, column in places]
            return max((row[0] for row in highest if row is not None and row[0] is not None), default=None)

    def fetch(self, ids: Sequence[str]) -> Rows:
        with self._reading() as (connection, layout):
            return contents.fetch(connection, layout, ids)

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        with self._reading() as (connection, layout):
            return read.plan(connection, layout, rows_per_chunk)

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        keys = KeyRange.of(chunk)
        lower = keys.lower
        while True:
            with self._reading() as (connection, layout):  # given back between pages: other calls may come in between
                rows = read.copy_page(connection, layout, lower, keys.upper, page_rows)
            if len(rows):
                yield rows
                lower = rows.ids[-1]
            if len(rows) < page_rows:
                return

    def export(self, after: Cursor, limit: int) -> ExportPage:
        with self._reading() as (connection, layout):
            rows = contents.export(connection, layout, key_of(after), limit)
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        with self._use() as connection:
            try:
                timeout_ms = max(1, math.ceil(timeout_s * 1000))
                with transaction(connection, statement_timeout_ms=timeout_ms):
                    layout = self._resolve(connection).layout
                    return searches.search(connection, layout, vector, k, conditions, timeout_ms)
            except QueryCanceled as error:
                raise Inconclusive(f"the search did not end within {timeout_s} s") from error

    def count(self) -> int:
        with self._reading() as (connection, layout):
            row = run(connection, f"SELECT count(*) FROM {layout.table} t WHERE {layout.present}").fetchone()
        assert row is not None
        return int(row[0])

    def size(self) -> Size:
        with self._use() as connection, transaction(connection):
            return Size(held=held_bytes(connection, self._parts), bound=None)

    def count_unstamped(self) -> int:
        with self._use() as connection, transaction(connection):
            table = read_table(connection, self._parts)
            if table is None:
                return 0
            where = f"WHERE {mapping.POSITION} IS NULL" if _enrolled(table) else ""
            row = run(connection, f"SELECT count(*) FROM {quote(table.schema, table.name)} {where}").fetchone()
        assert row is not None
        return int(row[0])

    def build_index(self) -> None:
        with self._reading() as (_, layout):
            what = f"the index build of {self._placement.table}"
        indexing.build_index(self._session, layout, lambda at: blocking.watched(at, Session(self._url), what))

    def index_ready(self) -> bool:
        with self._reading() as (connection, layout):
            if searches.has_index(connection, layout):
                return True
            return not (searches.wants_index(connection, layout) or indexing.has_remains(connection, layout))

    def maintain(self) -> None:
        """Nothing is due: autovacuum does it."""

    def close(self) -> None:
        self._session.close()

    @contextmanager
    def _use(self) -> Iterator[Connection]:
        """See ``Session.use``. When the table has no such column any more, its columns are read again."""
        try:
            with self._session.use() as connection:
                yield connection
        except Fatal as error:
            if isinstance(error.__cause__, ProgrammingError):
                self._resolved = None
            raise

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, Layout]]:
        with self._use() as connection, transaction(connection):
            yield connection, self._resolve(connection).layout

    def _judge(self, connection: Connection) -> Judged:
        return judge(connection, self._collection, self._placement, self._parts)

    def _steps(self, connection: Connection, judged: Judged, *, complete: bool, as_owner: bool = False) -> Steps:
        """What is left to run; what the table is like is kept by its owner alone."""
        steps = judged.steps(connection, complete=complete)
        table = judged.table
        if not (as_owner or steps.ddl or table is None or table.owned):
            return steps
        kept = shape.to_remember(connection, table, judged.parts, self._collection, self._placement)
        return Steps(ddl=(*steps.ddl, *kept), marks=steps.marks)

    def _refusals(self, connection: Connection) -> AbstractContextManager[None]:
        return remedied(connection, self._collection.name, self._placement.table, self._parts)

    def _apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        for left in reversed(range(LOOKS)):
            with self._use() as connection:
                at = self._resolved or self._resolve_for_events(connection)
                try:
                    return write_batch(connection, at.layout, at.sql, at.fingerprint, batch, marks)
                except Altered:
                    self._resolved = None
                except (UndefinedColumn, UndefinedTable):
                    if not left:
                        raise
                    self._resolved = None
        raise Transient(f"table {self._placement.table} is being altered")

    def _resolve_for_events(self, connection: Connection) -> Resolved:
        try:
            with transaction(connection):
                return self._resolve(connection)
        except Refused as refused:
            raise Refused(
                f"table {self._placement.table} takes no events: {'; '.join(refused.problems)}; none was skipped: put "
                "that right, or undo what was altered, and start the worker again"
            ) from refused

    def _resolve(self, connection: Connection) -> Resolved:
        if self._resolved is None:
            self._resolved = resolve(connection, self._parts, self._collection, self._placement, self._first_shape)
            self._first_shape = self._first_shape or self._resolved.shape
        return self._resolved
