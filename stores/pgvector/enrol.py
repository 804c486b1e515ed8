"""The statements that make a new table, or enrol the application's own."""

from __future__ import annotations

from ...schemas.collection import Collection, Placement
from .catalog import Table
from .layout import literal, quote
from .mapping import COMPANIONS, POSITION, companion

LOCK_TIMEOUT_S = 5  # ALTER TABLE waits for running transactions, and all later ones wait for it


def enrolment(
    table: Table | None,
    parts: tuple[str, ...],
    left_over: tuple[str, ...],
    collection: Collection,
    placement: Placement,
    *,
    complete: bool,
) -> tuple[str, ...]:
    """In order, idempotent. ``parts``: schema and name of the table; ``left_over``: companions of one that is gone."""
    schema, name = parts
    deleted, partitions, snapshots = (quote(schema, companion(name, suffix)) for suffix in COMPANIONS)
    last, flag = collection.partitions - 1, "true" if complete else "false"
    return (
        # They describe a table that is gone, and would report a new one as applied and complete.
        *(f"DROP TABLE {left}" for left in left_over),
        _new_table(quote(schema, name), collection, placement)
        if table is None
        else f"ALTER TABLE {quote(schema, name)} ADD COLUMN IF NOT EXISTS {POSITION} bigint",
        f"CREATE TABLE IF NOT EXISTS {deleted} (id {_id_type(collection)} PRIMARY KEY, position bigint NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS {partitions} "
        "(partition int PRIMARY KEY, epoch int NOT NULL, applied bigint NOT NULL, complete boolean NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS {snapshots} (epoch int, run text, partition int, next_offset bigint NOT NULL, "
        "next_chunk int NOT NULL, closed boolean NOT NULL, PRIMARY KEY (epoch, run, partition))",
        f"INSERT INTO {partitions} AS p SELECT n, {collection.epoch}, 0, {flag} FROM generate_series(0, {last}) n "
        "ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch, complete = excluded.complete, "
        "applied = CASE WHEN p.epoch = excluded.epoch THEN p.applied ELSE 0 END "
        "WHERE p.epoch < excluded.epoch OR (p.epoch = excluded.epoch AND excluded.complete AND NOT p.complete)",
    )


def _new_table(table: str, collection: Collection, placement: Placement) -> str:
    assert isinstance(placement.metadata, str)  # refusals.new_table_problems
    return (
        f"CREATE TABLE {table} ({quote(placement.id)} {_id_type(collection)} PRIMARY KEY, "
        f"{quote(placement.vector)} vector({collection.space.dimension}) NOT NULL, "
        f"{quote(placement.metadata)} jsonb NOT NULL DEFAULT {literal('{}')}, {POSITION} bigint)"
    )


def _id_type(collection: Collection) -> str:
    # Byte order needs no locale: comparing and keyset paging are several times faster.
    return 'text COLLATE "C"' if collection.id_type == "text" else collection.id_type
