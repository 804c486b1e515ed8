"""Time limits of the role: none stops a scan, a batch or the build of an index for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from store_data import DIMENSION, PLACEMENT, at, batch, collection, seeds
from store_factory import StoreFactory, open_given
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.applying import Applier
from vecferry.errors import Oversized, StoreError
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.stores.base import Store
from vecferry.stores.key_ranges import cut
from waiting import wait_until

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]

LIMITS = ("statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
LIMIT_MS = 100
INDEX = "products_vecferry_hnsw"
(WHOLE,) = cut([])  # a chunk


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def limited(store_factory: StoreFactory, plain: Plain) -> Iterator[Store]:
    """A store whose every session begins with tight limits, over an enrolled table with rows."""
    store_factory(collection(), PLACEMENT, seeds(20))
    found = plain.execute("SELECT name FROM pg_settings WHERE name = ANY(%s)", [[*LIMITS]])  # PostgreSQL 16 has three
    names = [str(name) for (name,) in found]
    assert len(names) >= 3
    limits = "".join(f"%20-c{name}%3D{LIMIT_MS}ms" for name in names)
    url = f"{store_factory.options['url']}{limits}&application_name=limited"
    store = open_given("pgvector", {"url": url}, collection(), PLACEMENT)
    yield store
    store.close()


def blocked(plain: Plain) -> bool:
    """Whether a session waits for this one. (A transaction sees one state of ``pg_stat_activity``.)"""
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return bool(plain.execute(waiting.encode()).fetchall())


CALLS: dict[str, Callable[[Store], object]] = {
    "apply": lambda store: store.apply(batch([(Op.UPSERT, "a", at(1))]), ()),
    "count": lambda store: store.count(),
    "count_unstamped": lambda store: store.count_unstamped(),
    "highest_position": lambda store: store.highest_position(),
    "fetch": lambda store: store.fetch(["sku-0001"]),
    "plan_chunks": lambda store: store.plan_chunks(5),
    "scan": lambda store: list(store.scan(WHOLE, 9)),
    "export": lambda store: store.export(None, 9),
    "search": lambda store: store.search(np.ones(DIMENSION, np.float32), 3, (), 30.0),
    "build_index": lambda store: store.build_index(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_takes_longer_than_the_limits_of_the_role_ends_well(
    limited: Store, plain: Plain, call: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with plain.transaction():
            plain.execute("LOCK TABLE products")
            answer = pool.submit(CALLS[call], limited)
            wait_until(lambda: blocked(plain) or answer.done(), what="the call behind the lock")
            plain.execute("SELECT pg_sleep(%s)", [3 * LIMIT_MS / 1000])
        answer.result(timeout=30)


def test_no_transaction_stays_open(limited: Store, plain: Plain) -> None:
    """Also behind a failure, and between two pages of a scan."""

    def is_idle() -> bool:
        found = plain.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'limited'").fetchall()
        return found != [] and all(state == "idle" for (state,) in found)

    (chunk,) = limited.plan_chunks(1_000)
    pages = limited.scan(chunk, 5)
    next(pages)
    assert is_idle()
    for call in (*CALLS.values(), lambda store: store.check(), lambda store: store.create(complete=True)):
        call(limited)
        assert is_idle()
    with pytest.raises(StoreError):
        limited.apply(batch([(Op.UPSERT, "nul\0", at(1))]), ())
    assert is_idle()


def test_a_batch_beyond_the_time_of_a_batch_is_applied_in_smaller_ones(
    store_factory: StoreFactory, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_factory(collection(), PLACEMENT)
    plain.execute(
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN true; END'"
    )
    plain.execute("ALTER TABLE products ADD CHECK (slow())")
    monkeypatch.setattr("vecferry.stores.pgvector.apply.APPLY_TIMEOUT_S", 0.2)
    events = batch((Op.UPSERT, f"id-{i}", at(i)) for i in range(50))
    with pytest.raises(Oversized, match="57014"):
        store.apply(events, ())
    result = Applier(store, DIMENSION, SYSTEM_CLOCK, lambda: False).apply(
        events, [LiveMark(partition=0, next_offset=50)]
    )
    assert set(result.outcomes.tolist()) == {Outcome.APPLIED}
    assert (store.count(), store.applied().live[0]) == (50, 50)


def test_a_build_that_is_cut_off_leaves_no_index_that_nobody_searches(
    store_factory: StoreFactory, plain: Plain
) -> None:
    store = store_factory(collection(), PLACEMENT, seeds(20))
    with ThreadPoolExecutor(1) as pool, plain.transaction():  # a snapshot that the build waits for at its end
        plain.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        plain.execute("SELECT 1")
        built = pool.submit(store.build_index)
        wait_until(lambda: blocked(plain) or built.done(), what="the build behind the snapshot")
        plain.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND strpos(query, current_schema()) > 0"
        )
        with pytest.raises(Oversized):
            built.result(timeout=30)
    assert plain.execute("SELECT to_regclass(%s)", [INDEX]).fetchone() == (None,)
    store.build_index()
    assert plain.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", [INDEX]).fetchone() == (
        True,
    )


def test_an_invalid_index_is_noticed_and_built_again(store_factory: StoreFactory, plain: Plain) -> None:
    store = store_factory(collection(), PLACEMENT, seeds(20))
    store.build_index()
    assert store.index_ready()
    plain.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [INDEX])
    assert not store.index_ready()  # though twenty rows want none
    store.build_index()
    assert store.index_ready()
    assert plain.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", [INDEX]).fetchone() == (
        True,
    )


def test_the_limits_of_the_role_are_named(limited: Store, store_factory: StoreFactory) -> None:
    (line,) = limited.remarks()
    assert f"statement_timeout = {LIMIT_MS}ms" in line
    assert f"lock_timeout = {LIMIT_MS}ms" in line
    assert store_factory.open(collection(), PLACEMENT).remarks() == ()
