"""The statements that make a new table, or enrol the application's own: those that are still to be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...schemas.collection import Collection, Placement
from .catalog import Companion, Extension, Table
from .connection import Connection, run
from .layout import literal, quote
from .mapping import COMPANIONS, POSITION, companion

LOCK_TIMEOUT_S = 5  # ALTER TABLE waits for running transactions, and all later ones wait for it
_PRIVILEGES = "SELECT, INSERT, UPDATE, DELETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """In order, idempotent. Only the owner of the table, or whoever may make tables beside it, can run ``ddl``."""

    ddl: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """What is to be run."""
        return (*self.ddl, *self.marks)


def companion_names(parts: tuple[str, str]) -> tuple[str, ...]:
    """The tables beside the one of that schema and name, quoted, in the order of ``COMPANIONS``."""
    return tuple(quote(parts[0], companion(parts[1], suffix)) for suffix in COMPANIONS)


def enrolment(
    connection: Connection,
    table: Table | None,
    parts: tuple[str, str],
    companions: Sequence[Companion],
    collection: Collection,
    placement: Placement,
    extension: Extension,
    *,
    complete: bool,
) -> Steps:
    """What is left to run. ``parts``: schema and name of the table; ``companions``: the tables beside it."""
    name = quote(*parts)
    enrolled = table is not None and POSITION in table.columns
    present = frozenset(one.name for one in companions if one.exists and enrolled)
    # The others describe a table that is gone, and would report a new one as applied and complete.
    ddl = [f"DROP TABLE {one.name}" for one in companions if one.exists and not enrolled]
    if table is None:
        ddl.append(_new_table(name, collection, placement, extension))
    elif not enrolled:
        ddl.append(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {POSITION} bigint")
    deleted, partitions, snapshots = companion_names(parts)
    made = {
        deleted: f"(id {_id_type(collection)} PRIMARY KEY, position bigint NOT NULL)",
        partitions: "(partition int PRIMARY KEY, epoch int NOT NULL, applied bigint NOT NULL, "
        "complete boolean NOT NULL)",
        snapshots: "(epoch int, run text, partition int, next_offset bigint NOT NULL, next_chunk int NOT NULL, "
        "closed boolean NOT NULL, PRIMARY KEY (epoch, run, partition))",
    }
    ddl += [f"CREATE TABLE IF NOT EXISTS {one} {columns}" for one, columns in made.items() if one not in present]
    readable = partitions in present and not any(
        one.name == partitions and "SELECT" in one.missing_privileges for one in companions
    )
    marked = readable and _marked(connection, partitions, collection, complete=complete)
    return Steps(ddl=tuple(ddl), marks=() if marked else (_marks(partitions, collection, complete=complete),))


def grants(parts: tuple[str, str], user: str) -> tuple[str, ...]:
    """What ``user`` needs to do the rest."""
    tables = ", ".join((quote(*parts), *companion_names(parts)))
    return (
        f"GRANT USAGE ON SCHEMA {quote(parts[0])} TO {quote(user)}",
        f"GRANT {_PRIVILEGES} ON {tables} TO {quote(user)}",
    )


def _marks(partitions: str, collection: Collection, *, complete: bool) -> str:
    last, flag = collection.partitions - 1, "true" if complete else "false"
    return (
        f"INSERT INTO {partitions} AS p SELECT n, {collection.epoch}, 0, {flag} FROM generate_series(0, {last}) n "
        "ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch, complete = excluded.complete, "
        "applied = CASE WHEN p.epoch = excluded.epoch THEN p.applied ELSE 0 END "
        "WHERE p.epoch < excluded.epoch OR (p.epoch = excluded.epoch AND excluded.complete AND NOT p.complete)"
    )


def _marked(connection: Connection, partitions: str, collection: Collection, *, complete: bool) -> bool:
    """Whether ``_marks`` would change nothing."""
    lacking = run(
        connection,
        f"SELECT EXISTS (SELECT FROM generate_series(0, $1 - 1) n LEFT JOIN {partitions} p ON p.partition = n "
        "WHERE p.partition IS NULL OR p.epoch < $2 OR (p.epoch = $2 AND $3 AND NOT p.complete))",
        [collection.partitions, collection.epoch, complete],
    ).fetchone()
    return lacking == (False,)


def _new_table(table: str, collection: Collection, placement: Placement, extension: Extension) -> str:
    metadata = ""
    if isinstance(placement.metadata, str):  # else it has none: refusals.new_table_problems
        metadata = f"{quote(placement.metadata)} jsonb NOT NULL DEFAULT {literal('{}')}, "
    return (
        f"CREATE TABLE {table} ({quote(placement.id)} {_id_type(collection)} PRIMARY KEY, "
        f"{quote(placement.vector)} {quote(extension.schema)}.vector({collection.space.dimension}) NOT NULL, "
        f"{metadata}{POSITION} bigint)"
    )


def _id_type(collection: Collection) -> str:
    # Byte order needs no locale: comparing and keyset paging are several times faster.
    return 'text COLLATE "C"' if collection.id_type == "text" else collection.id_type
