"""Each fault of psycopg, PostgreSQL or pgvector that ``quirks.py`` works around is still there.

A test that fails here says that a fault was mended: take the work-around away.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from store_factory import StoreFactory
from vecferry.errors import ConfigError
from vecferry.stores.pgvector import quirks

ROWS = 3_000
NEAREST = "SELECT id FROM points {} ORDER BY v <-> '[0,0]' LIMIT 20"


@pytest.fixture
def points(store_factory: StoreFactory) -> Iterator[psycopg.Connection]:
    """A table with an HNSW index in a schema of its own; row ``n`` is at (n, 0)."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE points (id int PRIMARY KEY, v vector(2))")
        connection.execute(
            f"INSERT INTO points SELECT n, ('[' || n || ',0]')::vector FROM generate_series(1, {ROWS}) n"
        )
        connection.execute("CREATE INDEX ON points USING hnsw (v vector_l2_ops)")
        connection.execute("ANALYZE points")
        connection.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        yield connection


def test_psycopg_still_quotes_the_password_of_a_url_that_it_cannot_read() -> None:
    with pytest.raises(psycopg.ProgrammingError, match="hush"):
        conninfo_to_dict("postgresql//me:hush@x")
    with pytest.raises(ConfigError) as refused:
        quirks.connection_parameters("postgresql//me:hush@x")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("store_kind", [pytest.param("pgvector", marks=pytest.mark.server)])
def test_an_hnsw_index_still_finds_too_few_rows_behind_a_filter(points: psycopg.Connection) -> None:
    filtered = NEAREST.format("WHERE id % 100 = 0")
    assert len(points.execute(filtered).fetchall()) < 20
    with points.transaction():
        points.execute(f"SELECT {quirks.SEARCH_ON}".encode())
        assert len(points.execute(filtered).fetchall()) == 20
