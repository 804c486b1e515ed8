"""Lost connections, held locks and writers that come back too late."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from psycopg import RawCursor
from store_data import DIMENSION, PLACEMENT, at, batch, collection, contents, partition_of
from store_factory import StoreFactory
from vecferry.errors import Fatal, Inconclusive, Rejected, Transient, Unavailable
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.stores.pgvector.store import PgvectorStore
from waiting import wait_until

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(store_factory: StoreFactory) -> PgvectorStore:
    """A store of the adapter, connected."""
    made = store_factory(collection(), PLACEMENT)
    assert isinstance(made, PgvectorStore)
    return made


def backend_of(store: PgvectorStore) -> int:
    with store._session.use() as connection:
        return connection.info.backend_pid


def terminate(plain: Plain, pid: int) -> None:
    plain.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(
        lambda: not plain.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall(), what="the end"
    )


def test_after_a_lost_connection_the_next_call_connects_again(store: PgvectorStore, plain: Plain) -> None:
    events = batch([(Op.UPSERT, "a", at(1))])
    terminate(plain, backend_of(store))
    with pytest.raises(Transient):
        store.apply(events, ())
    assert store.apply(events, ()).tolist() == [Outcome.APPLIED]
    terminate(plain, backend_of(store))
    with pytest.raises(Transient):
        store.count()
    assert store.count() == 1


def test_a_server_that_is_away_is_transient_for_a_worker(store: PgvectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()
    refused = psycopg.OperationalError("connection refused")

    def refuse(*_: object, **__: object) -> None:
        raise refused

    with monkeypatch.context() as away:
        away.setattr(psycopg, "connect", refuse)
        with pytest.raises(Transient, match="connection refused"):
            store.apply(batch([(Op.UPSERT, "a", at(1))]), ())
        with pytest.raises(Unavailable):
            store.count()
    assert store.count() == 0


def test_a_zombie_inside_its_transaction_cannot_undo_a_newer_delete(
    store_factory: StoreFactory, store: PgvectorStore, plain: Plain
) -> None:
    """The zombie holds the lock, the owner waits behind it; then the zombie dies, and then another one comes late."""
    zombie = store_factory.open(collection(), PLACEMENT)
    assert isinstance(zombie, PgvectorStore)
    partition = partition_of("a")
    with zombie._session.use() as connection, ThreadPoolExecutor(1) as owner:
        pid = connection.info.backend_pid
        connection.execute("BEGIN")
        connection.execute("SELECT FROM products_vecferry_partitions WHERE partition = $1 FOR UPDATE", [partition])
        newer = owner.submit(store.apply, batch([(Op.DELETE, "a", at(9))]), ())
        wait_until(
            lambda: plain.execute(
                "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", [pid]
            ).fetchall(),
            what="the owner behind the lock",
        )
        assert not newer.done()
        terminate(plain, pid)
        assert newer.result(timeout=30).tolist() == [Outcome.APPLIED]
    late = store_factory.open(collection(), PLACEMENT)
    assert late.apply(batch([(Op.UPSERT, "a", at(8))]), ()).tolist() == [Outcome.STALE]
    assert contents(store.fetch(["a"]))["a"].vector is None


def test_a_lock_that_is_not_given_back_is_transient(
    store: PgvectorStore, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecferry.stores.pgvector.connection.LOCK_TIMEOUT_S", 1)
    store.close()
    with plain.transaction():
        plain.execute("SELECT FROM products_vecferry_partitions FOR UPDATE")
        with pytest.raises(Transient, match="55P03"):
            store.apply(batch([(Op.UPSERT, "a", at(1))]), ())
    assert store.count() == 0


def test_the_server_ends_a_stopped_writer(store: PgvectorStore) -> None:
    with store._session.use() as connection:
        found = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
    assert found == ("30s",)


def test_the_guard_holds_against_a_writer_without_the_lock(store: PgvectorStore, plain: Plain) -> None:
    """It inserts the row between the judgement and the write: a conflict that the judgement did not see."""
    store.apply(batch([(Op.DELETE, "warm", at(1))]), ())
    with ThreadPoolExecutor(1) as owner:
        with plain.transaction():
            vector = str([1.0] * DIMENSION)
            plain.execute("INSERT INTO products VALUES ('a', %s, '{}', %s)", [vector, at(9)])
            older = owner.submit(store.apply, batch([(Op.UPSERT, "a", at(5))]), ())
            wait_until(
                lambda: plain.execute(
                    "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
                ).fetchall(),
                what="the conflict",
            )
        older.result(timeout=30)
    assert contents(store.fetch(["a"]))["a"].position == at(9)


def test_marks_and_rows_are_one_step(store: PgvectorStore, plain: Plain) -> None:
    plain.execute("ALTER TABLE products_vecferry_partitions ADD CHECK (applied < 5)")
    with pytest.raises(Rejected):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), (LiveMark(partition=0, next_offset=9),))
    assert store.count() == 0
    assert store.applied().live[0] == 0


def test_a_search_that_takes_too_long_is_inconclusive(store: PgvectorStore, plain: Plain) -> None:
    with plain.transaction():
        plain.execute("LOCK TABLE products")
        with pytest.raises(Inconclusive):
            store.search(np.ones(DIMENSION, dtype=np.float32), 1, (), 0.05)
    assert store.search(np.ones(DIMENSION, dtype=np.float32), 1, (), 30) == []


def test_a_vector_that_goes_missing_behind_a_readers_back_stops_it(store: PgvectorStore, plain: Plain) -> None:
    assert store.count() == 0  # it has looked at a table whose vectors cannot be null
    plain.execute("ALTER TABLE products ALTER embedding DROP NOT NULL")
    plain.execute("INSERT INTO products VALUES ('a', NULL, '{}')")
    for read in (lambda: list(store.scan(store.plan_chunks(9)[0], 9)), lambda: store.export(None, 9)):
        with pytest.raises(Fatal, match="no vector"):
            read()


def test_an_invalid_index_is_built_again(store: PgvectorStore, plain: Plain) -> None:
    plain.execute("CREATE INDEX products_vecferry_hnsw ON products USING hnsw (embedding vector_l2_ops)")
    store.build_index()
    found = plain.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'products_vecferry_hnsw'").fetchone()
    assert found is not None
    assert "vector_cosine_ops" in str(found[0])


def test_a_collection_that_outgrew_an_exact_scan_wants_its_index(store: PgvectorStore, plain: Plain) -> None:
    vector = str([1.0] * DIMENSION)
    plain.execute("INSERT INTO products SELECT n, %s, '{}' FROM generate_series(1, 10000) n", [vector])
    assert not store.index_ready()
    store.build_index()
    assert store.index_ready()


def test_statements_are_never_prepared(store: PgvectorStore) -> None:
    for i in range(12):
        store.apply(batch([(Op.UPSERT, "a", at(i))]), ())
    with store._session.use() as connection:
        assert connection.cursor_factory is RawCursor
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
