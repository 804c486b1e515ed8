"""The pgvector side of the store suites; see ``store_factory``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from store_data import Seed
from vecferry.schemas.collection import Collection, Placement

SERVER = True


def place(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """A schema of its own at the head of the search path, in a database that all store tests share."""
    admin_url: str = request.getfixturevalue("postgres_url")
    schema = f"t_{uuid4().hex}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(860860)")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    joint = "&" if "?" in admin_url else "?"
    yield {"url": f"{admin_url}{joint}options=-csearch_path%3D{schema},public"}
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def make_existing(
    options: Mapping[str, str], collection: Collection, placement: Placement, rows: Sequence[Seed]
) -> None:
    """One jsonb column; typed columns are the business of the tests of this adapter."""
    assert isinstance(placement.metadata, str)
    table, metadata = sql.Identifier(*placement.table.split(".")), sql.Identifier(placement.metadata)
    id_, vector = sql.Identifier(placement.id), sql.Identifier(placement.vector)
    with psycopg.connect(options["url"]) as connection:
        connection.execute(
            sql.SQL("CREATE TABLE {} ({} {} PRIMARY KEY, {} vector({}) NOT NULL, {} jsonb)").format(
                table, id_, sql.SQL(collection.id_type), vector, sql.Literal(collection.space.dimension), metadata
            )
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                sql.SQL("INSERT INTO {} VALUES (%s, %s::real[]::vector, %s)").format(table),
                [(row.id, row.vector.tolist(), json.dumps(row.metadata)) for row in rows],
            )


def drop_table(options: Mapping[str, str], placement: Placement) -> None:
    """Without what stands beside it."""
    with psycopg.connect(options["url"]) as connection:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*placement.table.split("."))))


def physical_rows(options: Mapping[str, str], placement: Placement, id_: str) -> int:
    """Counted through plain SQL."""
    table, column = sql.Identifier(*placement.table.split(".")), sql.Identifier(placement.id)
    with psycopg.connect(options["url"]) as connection:
        found = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE {}::text = %s").format(table, column), (id_,)
        ).fetchone()
    assert found is not None
    return int(found[0])


_ALTER = {
    "add": ("ADD COLUMN note text", "DROP COLUMN note"),
    "drop": ("DROP COLUMN price", "ADD COLUMN price double precision"),
    "rename": ("RENAME COLUMN price TO cost", "RENAME COLUMN cost TO price"),
    "cast": ("ALTER COLUMN rank TYPE smallint", "ALTER COLUMN rank TYPE bigint"),
    "widen": ("ALTER COLUMN small TYPE bigint", "ALTER COLUMN small TYPE smallint"),
}


def make_typed(options: Mapping[str, str], collection: Collection, placement: Placement) -> None:
    """``TYPED`` of ``store_data``."""
    with psycopg.connect(options["url"]) as connection:
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (sku text PRIMARY KEY, embedding vector({}) NOT NULL, rank bigint, small smallint, "
                "price double precision, title text)"
            ).format(sql.Identifier(placement.table), sql.Literal(collection.space.dimension))
        )


def alter(options: Mapping[str, str], placement: Placement, change: str, *, undo: bool = False) -> None:
    """As the owner of the table does it."""
    with psycopg.connect(options["url"]) as connection:
        connection.execute(
            sql.SQL("ALTER TABLE {} {}").format(
                sql.Identifier(placement.table),
                sql.SQL(_ALTER[change][undo]),  # type: ignore[arg-type]
            )
        )
