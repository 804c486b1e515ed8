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
from . import contents, enrol, mapping, read, refusals
from . import search as searches
from .apply import ApplySql, apply_sql, write_batch
from .catalog import Table, read_server, read_table
from .connection import Connection, Session, run
from .fields import read_fields
from .layout import Layout, make_layout, quote
from .wire.arrays import MAX_BYTES


@contextmanager
def _refusals(table: str) -> Iterator[None]:
    """What an operator can put right is a refusal, not a failure of the store."""
    try:
        yield
    except LockNotAvailable as error:
        raise Refused(f"{table} is locked by another session; try again when its transaction has ended") from error
    except InsufficientPrivilege as error:
        raise Refused(f"{str(error).strip()}; enrol as the owner of {table}") from error
    except InvalidSchemaName as error:
        raise Refused(f"{str(error).strip()}; create the schema first") from error


def _enrolled(table: Table | None) -> bool:
    return table is not None and mapping.POSITION in table.columns


def _companions(connection: Connection, parts: tuple[str, str]) -> tuple[str, ...]:
    """Those that exist beside the table of that schema and name, quoted."""
    names = [quote(parts[0], mapping.companion(parts[1], suffix)) for suffix in mapping.COMPANIONS]
    return tuple(
        name for name in names if run(connection, "SELECT to_regclass($1) IS NOT NULL", [name]).fetchone() == (True,)
    )


CAPABILITIES = Capabilities(
    guarantee=Guarantee.ATOMIC,
    id_types=frozenset({"text", "bigint", "uuid"}),
    metrics=frozenset(mapping.METRICS),
    filters=frozenset(Operator),
    max_bytes=MAX_BYTES,
)


class PgvectorStore:
    """See ``stores/base.py`` for every method."""

    capabilities = CAPABILITIES

    def __init__(self, url: str, collection: Collection, placement: Placement) -> None:
        self._session = Session(url)
        self._collection = collection
        self._placement = placement
        self._parts = mapping.table_parts(placement.table)
        self._resolved: tuple[Layout, ApplySql] | None = None

    def check(self) -> tuple[str, ...]:
        with self._session.use() as connection:
            return self._judge(connection)[0]

    def create(self, *, complete: bool, dry_run: bool = False) -> tuple[str, ...]:
        try:
            with self._session.use() as connection, _refusals(self._placement.table), connection.transaction():
                run(connection, f"SET LOCAL lock_timeout = '{enrol.LOCK_TIMEOUT_S}s'")
                # Two processes may enrol at once: IF NOT EXISTS alone is no protection against that.
                run(connection, "SELECT pg_advisory_xact_lock(hashtext($1))", [f"vecferry {self._placement.table}"])
                problems, table, parts = self._judge(connection)
                if problems:
                    raise Refused(problems)
                left_over = () if _enrolled(table) else _companions(connection, parts)
                statements = enrol.enrolment(
                    table, parts, left_over, self._collection, self._placement, complete=complete
                )
                for statement in () if dry_run else statements:
                    run(connection, statement)
                return statements
        finally:
            self._resolved = None

    def fields(self) -> RowFields:
        with self._session.use() as connection:
            problems, table, _ = self._judge(connection)
            if problems or table is None:
                raise Refused(problems or f"table {self._placement.table} does not exist")
            return read_fields(connection, table.oid, self._placement)

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
            row = run(connection, f"SELECT count(*) FROM {self._layout(connection)[0].table}").fetchone()
        assert row is not None
        return int(row[0])

    def size(self) -> Size:
        with self._session.use() as connection, connection.transaction():
            table = read_table(connection, self._parts)
            if table is None:
                return Size(held=0, bound=None)
            parts = (table.schema, table.name)
            names = [quote(*parts), *_companions(connection, parts)]
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
            searches.build_index(connection, self._layout(connection)[0])
        self._session.close()  # with the settings of the build

    def index_ready(self) -> bool:
        with self._session.use() as connection:
            layout = self._layout(connection)[0]
            return searches.has_index(connection, layout) or not searches.wants_index(connection, layout)

    def maintain(self) -> None:
        """Nothing is due: autovacuum does it."""

    def close(self) -> None:
        self._session.close()

    def _judge(self, connection: Connection) -> tuple[tuple[str, ...], Table | None, tuple[str, str]]:
        """Problems, the table if it exists, and schema and name of the table that is or will be."""
        server, table = read_server(connection), read_table(connection, self._parts)
        problems = [*refusals.server_problems(server)]
        if table is None:
            problems += refusals.new_table_problems(server, self._placement)
            schema = self._parts[0] if len(self._parts) == 2 else server.schema or ""
            return tuple(problems), None, (schema, self._parts[-1])
        problems += refusals.table_problems(table, self._collection, self._placement)
        if not problems and mapping.POSITION not in table.columns:
            problems += self._judge_rows(connection, table)
        return tuple(problems), table, (table.schema, table.name)

    def _judge_rows(self, connection: Connection, table: Table) -> list[str]:
        """What the rows of a table that is not enrolled yet hold; reads it once."""
        oid = read_server(connection).vector_oid
        assert oid is not None
        layout = make_layout(table, self._collection, self._placement, oid)
        statement, explain = refusals.row_checks(layout, nullable_vector=table.columns[self._placement.vector].nullable)
        row = run(connection, statement).fetchone()
        assert row is not None
        return [text for found, text in zip(row, explain, strict=True) if found]

    def _layout(self, connection: Connection) -> tuple[Layout, ApplySql]:
        if self._resolved is None:
            problems, table, _ = self._judge(connection)
            if problems:
                raise Refused(problems)
            if table is None or not _enrolled(table):
                name = self._collection.name
                raise Refused(f"table {self._placement.table} is not enrolled; run `vecferry enrol {name}`")
            oid = read_server(connection).vector_oid
            assert oid is not None
            layout = make_layout(table, self._collection, self._placement, oid)
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
