"""Apply a batch: one guarded merge, and what became of each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from lancedb.table import LanceTable
from numpy.typing import NDArray

from ...errors import Transient
from ...schemas.batch import EventBatch, Mark, Outcome, SnapshotMark
from ..base import gap
from .altered import writable
from .conditions import column, text
from .mapping import Layout, ledger_rows, to_arrow
from .marks import known_rows, lock_rows, mark_rows, next_offset_of
from .shape import POSITION
from .table import Connection, guarded_merge, rows_where

IDS_PER_LOOKUP = 2_000
_ALWAYS = 2**62  # above every position


def apply(connection: Connection, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
    """Outcomes int8 [n]; see ``Store.apply``. One commit; none for an empty batch without marks.

    The merge itself refuses a mark that would skip a gap. The rows of the batch are written, which does no harm.
    Only the first mark of a run is an insert, which Lance cannot make conditional: whether the row of a later one is
    still there is looked up right before the merge.
    """
    if not (len(batch) or marks):
        return np.zeros(0, np.int8)
    table, layout = writable(connection)
    ledger: list[tuple[str, int | None]] = [*mark_rows(marks, layout.epoch), *lock_rows(_partitions(batch, marks))]
    rows = pa.concat_tables([to_arrow(batch, layout), ledger_rows(ledger, layout)])
    known = known_rows(marks, layout.epoch)
    inserts = {row_id: entry for row_id, entry in known.items() if isinstance(entry[1], SnapshotMark)}
    if inserts:
        refuse_gaps(inserts, positions_of(connection.latest(), list(inserts), layout))
    floors = {row_id: floor for row_id, (floor, _) in known.items()}
    result = guarded_merge(table, rows, layout, floors)
    connection.wrote(result.version)
    written = result.num_inserted_rows + result.num_updated_rows
    if written == rows.num_rows:
        return np.full(len(batch), Outcome.APPLIED, np.int8)
    wanted: dict[str, int | None] = {**dict(zip(batch.ids, batch.positions.tolist(), strict=True)), **dict(ledger)}
    before = positions_of(connection.at(result.version - 1), list(wanted), layout)
    refuse_gaps(known, before)
    outcomes = _outcomes(wanted, before)
    if int((outcomes == Outcome.APPLIED).sum()) != written:
        raise Transient(f"{connection.where}: version {result.version - 1} does not explain what the merge wrote")
    return outcomes[: len(batch)]


def refuse_gaps(known: Mapping[str, tuple[int, Mark]], held: Mapping[str, int]) -> None:
    """Raise Fatal when a row of ``known`` is below its floor in ``held`` (id -> position), or is missing there."""
    for row_id, (floor, mark) in known.items():
        position = held.get(row_id)
        if position is None or position < floor:
            raise gap(mark, next_offset_of(mark, position))


def positions_of(table: LanceTable, ids: Sequence[str], layout: Layout) -> dict[str, int]:
    """The positions of those ``ids`` that the table holds, deleted ones and marks included."""
    found: dict[str, int] = {}
    for where in where_ids(ids, layout):
        held = rows_where(table, [layout.id.name, POSITION], where)
        positions = held[POSITION].fill_null(layout.base).to_pylist()
        found.update(zip(held[layout.id.name].to_pylist(), positions, strict=True))
    return found


def where_ids(ids: Sequence[str], layout: Layout) -> Iterator[str]:
    """SQL predicates that together select ``ids``."""
    for start in range(0, len(ids), IDS_PER_LOOKUP):
        wanted = ", ".join(text(id_) for id_ in ids[start : start + IDS_PER_LOOKUP])
        yield f"{column(layout.id.name)} IN ({wanted})"


def _partitions(batch: EventBatch, marks: Sequence[Mark]) -> set[int]:
    present = np.flatnonzero(np.bincount(batch.partitions))  # few and small: nothing to sort
    return {*present.tolist(), *(mark.partition for mark in marks)}


def _outcomes(wanted: Mapping[str, int | None], before: Mapping[str, int]) -> NDArray[np.int8]:
    """Compare positions by id (a lock has none, and is always written) with the state that the merge was committed on.

    That is the version just before the merge's own, also when other processes committed while it ran: Lance commits on
    top of a newer version only what no newer commit touched (rows by address, absent keys by primary key), and runs the
    merge again otherwise. A row refused on an older version is refused on this one too, for positions only grow.
    """
    n = len(wanted)
    incoming = np.fromiter((_ALWAYS if p is None else p for p in wanted.values()), np.int64, n)
    held = np.fromiter((before.get(id_, -1) for id_ in wanted), np.int64, n)
    outcomes = np.full(n, Outcome.APPLIED, np.int8)
    outcomes[held > incoming] = Outcome.STALE
    outcomes[held == incoming] = Outcome.DUPLICATE
    return outcomes
