"""A role that may only read and write rows, the owner who does the rest, and sessions that stand in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from store_data import DIMENSION, PLACEMENT, at, batch, collection, contents, seeds
from store_factory import StoreFactory, open_given
from vecferry.errors import Refused
from vecferry.schemas.batch import LiveMark, Op
from vecferry.schemas.collection import Placement
from vecferry.stores.base import Store
from waiting import wait_until

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def owner(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of whoever owns the application's tables."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def clerk(store_factory: StoreFactory, owner: Plain) -> Iterator[str]:
    """The url of a role that owns nothing and may use the schema."""
    schema = owner.execute("SELECT current_schema()").fetchone()
    assert schema is not None
    role = f"r_{schema[0]}"
    owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
    owner.execute(f"GRANT USAGE ON SCHEMA {schema[0]} TO {role}".encode())
    options = psycopg.conninfo.conninfo_to_dict(store_factory.options["url"])
    yield psycopg.conninfo.make_conninfo("", **{**options, "user": role, "password": "x"})
    owner.execute(f"DROP OWNED BY {role}".encode())
    owner.execute(f"DROP ROLE {role}".encode())


def role_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["user"])


def run_all(owner: Plain, store: Store, *, complete: bool) -> None:
    for statement in store.owner_statements(complete=complete):
        owner.execute(statement.encode())


@pytest.mark.parametrize("existing", [True, False], ids=["the application's table", "a new table"])
def test_a_role_that_writes_rows_enrols_after_the_owner_ran_what_was_printed(
    store_factory: StoreFactory, owner: Plain, clerk: str, existing: bool
) -> None:
    if existing:
        store_factory.make_existing(collection(), PLACEMENT, seeds(3))
        owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON products TO {role_of(clerk)}".encode())
    store = open_given("pgvector", {"url": clerk}, collection(), PLACEMENT)
    (problem,) = store.check()
    assert "`vecferry enrol products --sql`" in problem
    for dry_run in (True, False):
        with pytest.raises(Refused, match="have its owner, or a superuser, run what"):
            store.create(complete=existing, dry_run=dry_run)
    run_all(owner, store, complete=existing)
    assert store.owner_statements(complete=existing) == ()
    assert store.check() == ()
    assert store.create(complete=existing) == ()
    assert bool(store.applied().complete) is existing
    mark = LiveMark(partition=0, next_offset=3)
    store.apply(batch([(Op.UPSERT, "a", at(1)), (Op.DELETE, "b", at(2))]), (mark,))
    assert store.applied().live[0] == 3
    assert "a" in contents(store.fetch(["a"]))
    assert store.search(np.ones(DIMENSION, np.float32), 1, (), 30)
    with pytest.raises(Refused, match="CREATE INDEX CONCURRENTLY") as refused:
        store.build_index()
    (statement,) = re.findall(r"CREATE INDEX .*\)", str(refused.value))
    owner.execute(statement.encode())
    store.build_index()
    assert store.index_ready()
    store.close()


def test_a_role_without_grants_is_told_which(store_factory: StoreFactory, owner: Plain, clerk: str) -> None:
    store_factory(collection(), PLACEMENT, existing=seeds(1))
    store = open_given("pgvector", {"url": clerk}, collection(), PLACEMENT)
    assert [line.partition(" on ")[0] for line in store.check()] == [
        "no privilege for SELECT, INSERT, UPDATE, DELETE"
    ] * 4
    run_all(owner, store, complete=True)
    assert store.check() == ()
    store.close()


def test_row_level_security_that_hides_rows_is_refused_and_stays(
    store_factory: StoreFactory, owner: Plain, clerk: str
) -> None:
    store_factory(collection(), PLACEMENT, existing=seeds(1))
    owner.execute("ALTER TABLE products ENABLE ROW LEVEL SECURITY")
    store = open_given("pgvector", {"url": clerk}, collection(), PLACEMENT)
    (problem,) = store.check()
    assert "connect as a role that sees all of them" in problem
    assert "DISABLE" not in problem
    store.close()


def test_a_session_that_holds_up_an_index_build_is_named(
    store_factory: StoreFactory, owner: Plain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vecferry.stores.pgvector.blocking.LOOK_EVERY_S", 0.05)
    store = store_factory(collection(), Placement(table="items"))
    store.apply(batch([(Op.UPSERT, "a", at(1))]), ())
    (pid,) = owner.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    owner.execute("BEGIN")
    owner.execute("UPDATE items SET metadata = '{}'")
    with ThreadPoolExecutor(1) as beside:
        built = beside.submit(store.build_index)
        try:
            wait_until(lambda: any(f"process {pid} (" in record.getMessage() for record in caplog.records))
            assert not built.done()
        finally:
            owner.execute("ROLLBACK")
        built.result(timeout=60)
    (said,) = [record.getMessage() for record in caplog.records if "index build of items waits" in record.getMessage()]
    assert "idle in transaction, transaction open for" in said
    assert "is in the way of ShareLock on" in said
