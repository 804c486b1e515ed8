"""What the companions of a table say that it has applied, and what all of them take."""

from __future__ import annotations

from ...schemas.batch import Applied, SnapshotMark
from .catalog import read_companion, read_table
from .connection import Connection, run
from .enrol import companion_names
from .layout import quote
from .mapping import POSITION, companion


def read_marks(connection: Connection, parts: tuple[str, ...], epoch: int) -> Applied:
    """See ``Store.applied``. Raises psycopg's UndefinedTable when a companion is gone."""
    table = read_table(connection, parts)
    if table is None or POSITION not in table.columns:
        return Applied(live={}, complete=frozenset(), snapshots={})
    partitions, snapshots = (quote(table.schema, companion(table.name, kind)) for kind in ("partitions", "snapshots"))
    # One statement, one snapshot: marks of one moment.
    found = run(
        connection,
        f"SELECT NULL, partition, applied, 0, complete FROM {partitions} WHERE epoch = $1 "
        f"UNION ALL SELECT run, partition, next_offset, next_chunk, closed FROM {snapshots} WHERE epoch = $1",
        [epoch],
    ).fetchall()
    marks = [row for row in found if row[0] is not None]
    lives = [row for row in found if row[0] is None]
    return Applied(
        live={partition: applied for _, partition, applied, _, _ in lives},
        complete=frozenset(partition for _, partition, _, _, complete in lives if complete),
        snapshots={
            (run_name, partition): SnapshotMark(
                run=run_name, partition=partition, next_offset=next_offset, next_chunk=next_chunk, closed=closed
            )
            for run_name, partition, next_offset, next_chunk, closed in marks
        },
    )


def held_bytes(connection: Connection, parts: tuple[str, ...]) -> int:
    """Table, companions and their indexes; 0 without a table."""
    table = read_table(connection, parts)
    if table is None:
        return 0
    where = (table.schema, table.name)
    names = [quote(*where), *(name for name in companion_names(where) if read_companion(connection, name).exists)]
    sizes = [run(connection, "SELECT pg_total_relation_size($1::regclass)", [name]).fetchone() for name in names]
    return sum(row[0] for row in sizes if row is not None)
