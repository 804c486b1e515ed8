"""The connection: one Lance table, opened when it is first needed, and read at its latest or at a pinned version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import lancedb
import pyarrow as pa
from lancedb.table import LanceTable

from ...errors import Refused
from ...forks import Home
from ...schemas.collection import Collection, Placement
from . import quirks
from .conditions import column, text
from .mapping import Layout, layout_of, missing_columns
from .shape import POSITION, narrowed

MERGE_TRIES = 5  # each of them ten of Lance's


class Connection:
    """``uri`` is a directory or an object store's address. Nothing is opened or made before it must be."""

    def __init__(self, uri: str, collection: Collection, placement: Placement) -> None:
        self.uri = uri
        self.collection = collection
        self.placement = placement
        self.where = f"lancedb table {placement.table!r} in {uri}"
        self._database: lancedb.DBConnection | None = None
        self._table: LanceTable | None = None
        self._pinned: LanceTable | None = None
        self._layout: Layout | None = None
        self._seen: tuple[int, pa.Schema] | None = None
        self.home = Home(self.where, self)

    def database(self) -> lancedb.DBConnection:
        """The database; makes its directory if that is absent."""
        self.home.check()
        if self._database is None:
            self._database = lancedb.connect(self.uri)
        return self._database

    def find(self) -> LanceTable | None:
        """The table at its latest version, or None when there is none (yet)."""
        self.home.check()
        if self._table is not None:
            self._table.checkout_latest()
            return self._table
        if quirks.is_absent(self.uri):
            return None
        try:
            self._table = self._open()
        except ValueError as error:
            if not quirks.is_missing_table(error):
                raise
        return self._table

    def latest(self) -> LanceTable:
        """The table at its latest version. Raises Refused when there is none."""
        table = self.find()
        if table is None:
            raise Refused(f"{self.where} does not exist; create it first")
        return table

    def unmoved(self, version: int) -> bool:
        """Whether ``version`` is the one that was last seen or written here."""
        return self._seen is not None and self._seen[0] == version

    def has_schema(self, schema: pa.Schema) -> bool:
        """Whether ``schema`` is the one that was last seen."""
        return self._seen is not None and bool(self._seen[1].equals(schema, check_metadata=True))

    def saw(self, version: int, schema: pa.Schema) -> None:
        """Rows fit ``schema``, which ``version`` has."""
        self._seen = version, schema

    def wrote(self, version: int) -> None:
        """A merge of rows made ``version``; nobody else has committed since if it follows the one that was seen."""
        if self._seen is not None and version == self._seen[0] + 1:
            self._seen = version, self._seen[1]

    def at(self, version: int) -> LanceTable:
        """The table as of ``version``: a second handle, valid until the next call."""
        self.home.check()
        if self._pinned is None:
            self._pinned = self._open()
        self._pinned.checkout(version)
        return self._pinned

    def layout(self) -> Layout:
        """The collection's columns in the table. Raises Refused when there is no table, or it lacks columns."""
        if self._layout is None:
            schema = self.latest().schema
            missing = {self.placement.id, self.placement.vector, *self.metadata_names()} - set(schema.names)
            if missing:
                raise Refused(f"{self.where}: {missing_columns(missing, schema.names)}")
            exact = narrowed(schema, self.metadata_names())
            self._layout = layout_of(schema, self.collection, self.placement, exact)
        return self._layout

    def metadata_names(self) -> tuple[str, ...]:
        """The metadata columns of the placement."""
        names = self.placement.metadata
        return (names,) if isinstance(names, str) else names

    def forget_layout(self) -> None:
        """Call after a change of the schema."""
        self._layout = self._seen = None

    def close(self) -> None:
        """Release all handles; idempotent. Does nothing in a forked child."""
        if self.home.left:
            return
        self._database = self._table = self._pinned = self._layout = self._seen = None

    def _open(self) -> LanceTable:
        return cast(LanceTable, self.database().open_table(self.placement.table))


def rows_where(table: LanceTable, columns: list[str], where: str) -> pa.Table:
    """All rows that meet ``where``, in no order."""
    return table.search().where(where).select(columns).limit(None).to_arrow()


def seconds(timeout_s: float) -> timedelta:
    """As Lance takes it."""
    return timedelta(seconds=timeout_s)


def guarded_merge(table: LanceTable, rows: pa.Table, layout: Layout, floors: Mapping[str, int] | None = None) -> Any:
    """The only statement with which vecferry writes rows: newer positions win, absent ids are inserted, in one commit.

    ``floors``: id -> a position; a row below it is not updated. An absent row is inserted in any case. Returns Lance's
    MergeResult. If another process commits meanwhile, Lance retries, ten times within some seconds. Beside a writer
    that never pauses one merge in a hundred needs more tries, so this starts such a merge again.
    """
    merge = (
        table.merge_insert(layout.id.name)
        .when_matched_update_all(where=" AND ".join([f"({layout.guard})", *_above(floors or {}, layout)]))
        .when_not_matched_insert_all()
    )
    for _ in range(MERGE_TRIES - 1):
        try:
            return quirks.execute(merge, rows)
        except RuntimeError as error:
            if "too many concurrent writers" not in str(error).lower():
                raise
            table.checkout_latest()
    return quirks.execute(merge, rows)


def _above(floors: Mapping[str, int], layout: Layout) -> list[str]:
    held, id_ = f"target.{POSITION}", f"target.{column(layout.id.name)}"
    return [f"NOT ({held} < {floor} AND {id_} = {text(row_id)})" for row_id, floor in floors.items()]
