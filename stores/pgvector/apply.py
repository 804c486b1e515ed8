"""Write one batch and its marks in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import Refused, Rejected
from ...schemas.batch import EventBatch, LiveMark, Mark, Op, SnapshotMark
from ..base import gap
from . import mapping, statements
from .connection import Connection, Wire, run, transaction
from .layout import Layout
from .wire import arrays
from .wire.vectors import vector_array

# A batch that takes longer is made smaller. Longer than LOCK_TIMEOUT_S, so that a wait for a lock is told from that.
APPLY_TIMEOUT_S = 60.0


class Altered(Exception):
    """The table is no longer what the statements were made for; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplySql:
    """The texts, made once per layout."""

    table: str
    lock: str
    write: str
    live: str
    snapshot: str
    complete: str


def apply_sql(layout: Layout) -> ApplySql:
    """The statements of ``write_batch``."""
    return ApplySql(
        table=statements.lock_table(layout),
        lock=statements.lock_partitions(layout),
        write=statements.guarded_write(layout),
        live=statements.advance_live(layout),
        snapshot=statements.advance_snapshot(layout),
        complete=statements.set_complete(layout),
    )


def encode_batch(layout: Layout, batch: EventBatch) -> tuple[NDArray[np.intp], list[Wire]]:
    """The batch sorted by id as the parameters of the guarded statement, and the order. Raises Rejected.

    Sorted, because two writers that lock the rows of a table in opposite order deadlock.
    """
    dimension = layout.collection.space.dimension
    if batch.vectors.shape[1] != dimension:
        raise Rejected(f"vectors have {batch.vectors.shape[1]} dimensions, the collection has {dimension}")
    mapping.check_ids(batch.ids, layout.collection.id_type, layout.id_max_chars)
    order = np.array(sorted(range(len(batch)), key=batch.ids.__getitem__), dtype=np.intp)
    deletes, metadata = batch.ops == Op.DELETE, batch.metadata
    if deletes.any():
        metadata = [b"{}" if delete else text for delete, text in zip(deletes.tolist(), metadata, strict=True)]
    columns = (
        arrays.text_array(batch.ids, order),
        arrays.int2_array(batch.ops[order]),
        arrays.int8_array(batch.positions[order]),
        vector_array(batch.vectors, order, layout.vector_oid),
        arrays.text_array(metadata, order),
    )
    return order, [Wire(column) for column in columns]


def write_batch(
    connection: Connection, layout: Layout, sql: ApplySql, fingerprint: int, batch: EventBatch, marks: Sequence[Mark]
) -> NDArray[np.int8]:
    """See ``Store.apply``. Raises Altered when the table's fingerprint is another one."""
    outcomes = np.zeros(len(batch), dtype=np.int8)
    partitions = sorted({*batch.partitions.tolist(), *(mark.partition for mark in marks)})
    if not partitions:
        return outcomes
    if np.any(batch.ops == Op.PATCH):
        raise Rejected("partial updates cannot be stored")
    encoded, refusal = None, None
    try:
        encoded = encode_batch(layout, batch) if len(batch) else None
    except Rejected as error:
        refusal = error  # the id column may have been widened since
    with transaction(connection, statement_timeout_ms=round(APPLY_TIMEOUT_S * 1000), first=sql.table):
        found = run(connection, sql.lock, [partitions]).fetchall()
        applied: dict[int, int] = {partition: offset for partition, offset, _ in found}
        if any(seen != fingerprint for *_, seen in found):
            raise Altered
        if refusal is not None:
            raise refusal
        if list(applied) != partitions:
            raise Refused(
                f"{layout.table} was not enrolled for partitions {sorted(set(partitions) - set(applied))} in epoch "
                f"{layout.collection.epoch}; run `vecferry enrol {layout.collection.name}`, as it is configured"
            )
        for mark in marks:
            if isinstance(mark, LiveMark) and applied[mark.partition] < mark.known:
                raise gap(mark, applied[mark.partition])
        if encoded is not None:
            order, parameters = encoded
            answer = run(connection, sql.write, parameters).fetchone()
            assert answer is not None
            digits, problem = answer
            if problem is not None:
                raise Rejected(problem)
            outcomes[order] = np.frombuffer(digits.encode(), dtype=np.int8) - ord("0")
        _write_marks(connection, sql, marks)
    return outcomes


def _write_marks(connection: Connection, sql: ApplySql, marks: Sequence[Mark]) -> None:
    live: dict[int, int] = {}
    closed: list[int] = []
    for mark in marks:
        match mark:
            case LiveMark(partition=partition, next_offset=next_offset):
                live[partition] = max(next_offset, live.get(partition, 0))
            case SnapshotMark():
                values = [mark.run, mark.partition, mark.next_offset, mark.next_chunk, mark.closed]
                before = run(connection, sql.snapshot, values).fetchone()
                assert before is not None
                if (before[0] or 0) < mark.known:
                    raise gap(mark, before[0] or 0)  # rolls back the rows too
                if mark.closed:
                    closed.append(mark.partition)
    if live:
        run(connection, sql.live, [list(live), list(live.values())])
    if closed:
        run(connection, sql.complete, [closed])
