"""The ``Store`` over one PostgreSQL table with a pgvector column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from psycopg.errors import InsufficientPrivilege, InvalidSchemaName, LockNotAvailable, QueryCanceled, UndefinedTable

from ...errors import Inconclusive, Refused, Transient, Unavailable
from ...schemas.batch import Applied, EventBatch, Hit, Mark, Rows, SnapshotMark
from ...schemas.collection import Collection, Placement
from ...schemas.fields import RowFields
from ...schemas.filters import Condition, Operator
from ..base import Capabilities, Cursor, ExportPage, Guarantee, Size
from ..key_ranges import KeyRange, key_of
from . import blocking, contents, enrol, mapping, read
from . import search as searches
from .apply import ApplySql, apply_sql, write_batch
from .catalog import Table, read_companion, read_table
from .connection import Connection, Session, run
from .fields import read_fields
from .judging import Judged, judge, placement_remarks, row_problems
from .layout import Layout, quote
from .wire.arrays import MAX_BYTES


def _enrolled(table: Table | None) -> bool:
    return table is not None and mapping.POSITION in table.columns


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
        self._resolved: tuple[Layout, ApplySql] | None = None

    def check(self) -> tuple[str, ...]:
        with self._session.use() as connection, self._refusals(connection):
            judged = self._judge(connection)
            if judged.problems:
                return judged.problems
            rights = judged.rights(connection, judged.steps(connection, complete=False))
            return (*rights, *judged.privileges, *row_problems(connection, judged))

    def remarks(self) -> tuple[str, ...]:
        with self._session.use() as connection, self._refusals(connection):
            return placement_remarks(connection, self._judge(connection))

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        try:
            with self._session.use() as connection, self._refusals(connection), connection.transaction():
                run(connection, f"SET LOCAL lock_timeout = '{enrol.LOCK_TIMEOUT_S}s'")
                # Two processes may enrol at once: IF NOT EXISTS alone is no protection against that.
                run(connection, "SELECT pg_advisory_xact_lock(hashtext($1))", [f"vecferry {self._placement.table}"])
                judged = self._judge(connection)
                if judged.problems:
                    raise Refused(judged.problems)
                steps = judged.steps(connection, complete=complete)
                rights = judged.rights(connection, steps)
                if problems := (*rights, *judged.privileges, *row_problems(connection, judged)):
                    raise Refused(problems)
                for statement in () if dry_run else steps.all:
                    run(connection, statement)
                return steps.all
        finally:
            self._resolved = None

    def fields(self) -> RowFields:
        with self._session.use() as connection:
            judged = self._judge(connection)
            if judged.problems or judged.table is None:
                raise Refused(judged.problems or f"table {self._placement.table} does not exist")
            return read_fields(connection, judged.table.oid, self._placement)

    def owner_statements(self, *, complete: bool) -> tuple[str, ...]:
        with self._session.use() as connection, self._refusals(connection):
            judged = self._judge(connection)
            if problems := judged.problems or row_problems(connection, judged):
                raise Refused(problems)
            steps = judged.steps(connection, complete=complete)
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
            with self._session.use() as connection:
                layout, sql = self._layout(connection)
                return write_batch(connection, layout, sql, batch, marks)
        except Unavailable as error:
            raise Transient(str(error)) from error

    def applied(self) -> Applied:
        with self._session.use() as connection:
            try:
                with connection.transaction():
                    return self._read_marks(connection)
            except UndefinedTable:
                return Applied(live={}, complete=frozenset(), snapshots={})

    def highest_position(self) -> int | None:
        with self._session.use() as connection, connection.transaction():
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
        with self._session.use() as connection:
            return contents.fetch(connection, self._layout(connection)[0], ids)

    def plan_chunks(self, rows_per_chunk: int) -> tuple[Cursor, ...]:
        with self._session.use() as connection:
            return read.plan(connection, self._layout(connection)[0], rows_per_chunk)

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        keys = KeyRange.of(chunk)
        lower = keys.lower
        while True:
            with self._session.use() as connection:  # given back between pages: other calls may come in between
                rows = read.copy_page(connection, self._layout(connection)[0], lower, keys.upper, page_rows)
            if len(rows):
                yield rows
                lower = rows.ids[-1]
            if len(rows) < page_rows:
                return

    def export(self, after: Cursor, limit: int) -> ExportPage:
        with self._session.use() as connection:
            rows = contents.export(connection, self._layout(connection)[0], key_of(after), limit)
        return ExportPage(rows=rows, next=rows.ids[-1] if len(rows) else None)

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Sequence[Condition], timeout_s: float
    ) -> list[Hit]:
        with self._session.use() as connection:
            layout = self._layout(connection)[0]
            try:
                return searches.search(connection, layout, vector, k, conditions, timeout_s)
            except QueryCanceled as error:
                raise Inconclusive(f"the search did not end within {timeout_s} s") from error

    def count(self) -> int:
        with self._session.use() as connection:
            layout = self._layout(connection)[0]
            row = run(connection, f"SELECT count(*) FROM {layout.table} t WHERE {layout.present}").fetchone()
        assert row is not None
        return int(row[0])

    def size(self) -> Size:
        with self._session.use() as connection, connection.transaction():
            table = read_table(connection, self._parts)
            if table is None:
                return Size(held=0, bound=None)
            parts = (table.schema, table.name)
            names = [quote(*parts), *(n for n in enrol.companion_names(parts) if read_companion(connection, n).exists)]
            sizes = [
                run(connection, "SELECT pg_total_relation_size($1::regclass)", [name]).fetchone() for name in names
            ]
            return Size(held=sum(row[0] for row in sizes if row is not None), bound=None)

    def count_unstamped(self) -> int:
        with self._session.use() as connection:
            table = read_table(connection, self._parts)
            if table is None:
                return 0
            where = f"WHERE {mapping.POSITION} IS NULL" if _enrolled(table) else ""
            row = run(connection, f"SELECT count(*) FROM {quote(table.schema, table.name)} {where}").fetchone()
        assert row is not None
        return int(row[0])

    def build_index(self) -> None:
        with self._session.use() as connection:
            layout = self._layout(connection)[0]
            try:
                what = f"the index build of {self._placement.table}"
                with blocking.watched(connection, Session(self._url), what):
                    searches.build_index(connection, layout)
            except InsufficientPrivilege as error:
                raise Refused(
                    f"{str(error).strip()}; have its owner run {searches.create_index(layout)}, then go on"
                ) from error
        self._session.close()  # with the settings of the build

    def index_ready(self) -> bool:
        with self._session.use() as connection:
            layout = self._layout(connection)[0]
            return searches.has_index(connection, layout) or not searches.wants_index(connection, layout)

    def maintain(self) -> None:
        """Nothing is due: autovacuum does it."""

    def close(self) -> None:
        self._session.close()

    def _judge(self, connection: Connection) -> Judged:
        return judge(connection, self._collection, self._placement, self._parts)

    @contextmanager
    def _refusals(self, connection: Connection) -> Iterator[None]:
        """What an operator can put right is a refusal, not a failure of the store."""
        table = self._placement.table
        try:
            yield
        except LockNotAvailable as error:
            held = blocking.holders(connection, quote(*self._parts)) or "another enrolment is at work"
            raise Refused(f"{table} is locked: {held}; try again when that has ended") from error
        except InsufficientPrivilege as error:
            remedy = f"have its owner run what `vecferry enrol {self._collection.name} --sql` prints, then go on"
            raise Refused(f"{str(error).strip()}; {remedy}") from error
        except InvalidSchemaName as error:
            raise Refused(f"{error.diag.message_primary}; create the schema first") from error

    def _layout(self, connection: Connection) -> tuple[Layout, ApplySql]:
        if self._resolved is None:
            layout = self._judge(connection).layout()
            self._resolved = layout, apply_sql(layout)
        return self._resolved

    def _read_marks(self, connection: Connection) -> Applied:
        table = read_table(connection, self._parts)
        if table is None or not _enrolled(table):
            return Applied(live={}, complete=frozenset(), snapshots={})
        partitions, snapshots = (
            quote(table.schema, mapping.companion(table.name, suffix)) for suffix in ("partitions", "snapshots")
        )
        # One statement, one snapshot: marks of one moment.
        found = run(
            connection,
            f"SELECT NULL, partition, applied, 0, complete FROM {partitions} WHERE epoch = $1 "
            f"UNION ALL SELECT run, partition, next_offset, next_chunk, closed FROM {snapshots} WHERE epoch = $1",
            [self._collection.epoch],
        ).fetchall()
        marks = [row for row in found if row[0] is not None]
        lives = [row for row in found if row[0] is None]
        return Applied(
            live={partition: applied for _, partition, applied, _, _ in lives},
            complete=frozenset(partition for _, partition, _, _, complete in lives if complete),
            snapshots={
                (run, partition): SnapshotMark(
                    run=run, partition=partition, next_offset=next_offset, next_chunk=next_chunk, closed=closed
                )
                for run, partition, next_offset, next_chunk, closed in marks
            },
        )
