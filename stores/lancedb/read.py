"""Read rows: by id, in chunks for the mover, in pages for the verifier.

``scan`` streams Arrow batches of an id range. ``export`` lists the ids of a pinned version in order and takes rows by
their address, as plain Python values: another statement and another decoding, so that one fault cannot hide in both.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.query import ColumnOrdering
from lancedb.table import LanceTable

from ...schemas.batch import Applied, Rows
from ..base import Cursor
from ..key_ranges import KeyRange, cut
from .apply import where_ids
from .conditions import column, text
from .mapping import DELETED, JSON, LIVE, Layout, between, to_rows
from .marks import PREFIX, PREFIX_END, read_marks
from .shape import POSITION
from .table import Connection, rows_where

LISTED_IDS = 250_000


def applied(connection: Connection) -> Applied:
    """See ``Store.applied``."""
    table = connection.find()
    if table is None or not connection.layout().enrolled:
        return Applied(live={}, complete=frozenset(), snapshots={})
    layout = connection.layout()
    name = column(layout.id.name)
    where = f"{name} >= {text(PREFIX)} AND {name} < {text(PREFIX_END)}"
    rows = rows_where(table, [layout.id.name, POSITION], where)
    pairs = zip(rows[layout.id.name].to_pylist(), rows[POSITION].to_pylist(), strict=True)
    return read_marks(pairs, layout.epoch)


def highest_position(connection: Connection) -> int | None:
    """See ``Store.highest_position``."""
    table = connection.find()
    if table is None or POSITION not in table.schema.names:
        return None
    name = column(connection.layout().id.name)
    where = f"{POSITION} IS NOT NULL AND NOT ({name} >= {text(PREFIX)} AND {name} < {text(PREFIX_END)})"
    pages = table.search().where(where).select([POSITION]).limit(None).to_batches()
    return max((pc.max(page[POSITION]).as_py() for page in pages if page.num_rows), default=None)


def fetch(connection: Connection, ids: Sequence[str]) -> Rows:
    """See ``Store.fetch``."""
    table, layout = connection.latest(), connection.layout()
    known = list(dict.fromkeys(id_ for id_ in ids if "\x00" not in id_))  # marks are not rows
    pages = [rows_where(table, layout.compared_columns, where) for where in where_ids(known, layout)]
    if not pages:
        pages = [rows_where(table, layout.compared_columns, "false")]
    return to_rows(pa.concat_tables(pages), layout)


def count(connection: Connection) -> int:
    """See ``Store.count``; 0 for a table that does not exist."""
    table = connection.find()
    return 0 if table is None else table.count_rows(connection.layout().live)


def count_unstamped(connection: Connection) -> int:
    """See ``Store.count_unstamped``."""
    table = connection.find()
    if table is None:
        return 0
    return table.count_rows(f"{POSITION} IS NULL AND {LIVE}" if POSITION in table.schema.names else None)


def plan_chunks(connection: Connection, rows_per_chunk: int) -> tuple[Cursor, ...]:
    """See ``Store.plan_chunks``. Reads and sorts the ids, nothing else."""
    layout = connection.layout()
    ids = rows_where(connection.latest(), [layout.id.name], layout.live)[layout.id.name]
    order = pc.sort_indices(ids)  # by UTF-8 bytes, as Lance compares text
    cuts = ids.take(order[rows_per_chunk - 1 : max(len(ids) - 1, 0) : rows_per_chunk]).to_pylist()
    return cut(cuts)


def scan(connection: Connection, keys: KeyRange, page_rows: int, given: Set[str]) -> Iterator[Rows]:
    """See ``Store.scan``. The rows are those of one version: the latest when the first page is asked for.

    The ids in ``given`` are left out.
    """
    layout = connection.layout()
    where = " AND ".join([layout.live, *between(layout.id.name, keys.lower, keys.upper)])
    query = connection.latest().search().where(where).select(layout.row_columns).limit(None)
    pending: list[pa.RecordBatch] = []
    rows = 0
    for batch in query.to_batches(batch_size=page_rows):
        if given:
            batch = batch.filter(pc.invert(pc.is_in(batch.column(layout.id.name), pa.array(given, layout.id.type))))
        pending.append(batch)
        rows += batch.num_rows
        if rows >= page_rows:
            table = pa.Table.from_batches(pending)
            yield to_rows(table.slice(0, page_rows), layout)
            pending = table.slice(page_rows).to_batches()
            rows -= page_rows
    if rows:
        yield to_rows(pa.Table.from_batches(pending), layout)


@dataclass(slots=True, kw_only=True)
class Listing:
    """The ids after a point, in order, with their row addresses, as of one version."""

    version: int
    ids: list[str]
    row_ids: list[int]
    last_given: str | None  # where the previous page ended


def export(connection: Connection, listing: Listing | None, after: str | None, limit: int) -> tuple[Rows, Listing]:
    """See ``Store.export``; ``listing`` is what the previous call returned.

    A pass over n rows lists them n / 250,000 times, not once a page: each page is read from the version of its listing.
    A call that does not go on where the last one ended, or finds the listing at its end, lists again.
    """
    layout = connection.layout()
    if listing is None or after is None or after != listing.last_given or after >= listing.ids[-1]:
        listing = _list(connection.latest(), layout, after, max(limit, LISTED_IDS))
    start = 0 if after is None else bisect_right(listing.ids, after)
    wanted = listing.row_ids[start : start + limit]
    listing.last_given = listing.ids[start + len(wanted) - 1] if wanted else None
    if not wanted:
        return _as_rows([], layout), listing
    page = connection.at(listing.version).take_row_ids(wanted).select(layout.compared_columns).to_list()
    page.sort(key=lambda row: str(row[layout.id.name]))
    return _as_rows(page, layout), listing


def _list(table: LanceTable, layout: Layout, after: str | None, limit: int) -> Listing:
    where = " AND ".join([layout.live, *between(layout.id.name, after, None)])
    order = [ColumnOrdering(column_name=layout.id.name)]
    query = table.search().where(where).select([layout.id.name]).order_by(order).limit(limit).with_row_id(True)
    version = table.version
    listed = query.to_arrow()
    ids = listed[layout.id.name].to_pylist()
    row_ids = listed["_rowid"].to_pylist()
    return Listing(version=version, ids=ids, row_ids=row_ids, last_given=None)


def _as_rows(page: list[dict[str, object]], layout: Layout) -> Rows:
    none = [np.nan] * layout.dimension
    vectors = [none if (vector := row[layout.vector.name]) is None else vector for row in page]
    mirrored = JSON in layout.compared_columns
    return Rows(
        ids=[str(row[layout.id.name]) for row in page],
        positions=np.array([layout.base if (p := row.get(POSITION)) is None else p for row in page], np.int64),
        deleted=np.array([bool(row.get(DELETED)) for row in page], np.bool_),
        vectors=np.array(vectors, np.float32).reshape(len(page), layout.dimension),
        metadata=[_metadata(row, layout) for row in page],
        filtered=[str(row[JSON] or "{}").encode() for row in page] if mirrored else None,
    )


def _metadata(row: dict[str, object], layout: Layout) -> bytes:
    if layout.json:
        return str(row[layout.metadata[0].name] or "{}").encode()
    values = {field.name: row[field.name] for field in layout.metadata if row[field.name] is not None}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
