"""Through PgBouncer in transaction mode, where the next transaction of a server process is the application's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psycopg
import pytest
from pgbouncer import pooler
from psycopg.conninfo import conninfo_to_dict
from store_data import DIMENSION, at, batch, collection, contents
from store_factory import StoreFactory, open_given
from vecferry.errors import Refused
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.schemas.collection import Placement
from vecferry.stores.base import Store

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]

_STATE = {
    "settings": "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY name",
    "prepared statements": "SELECT name FROM pg_prepared_statements",
    "cursors": "SELECT name FROM pg_cursors WHERE name <> ''",
    "advisory locks": "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "channels": "SELECT pg_listening_channels()",
    "temporary tables": "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
}


class Pooled:
    """A store behind a pooler, and the application behind the same one."""

    def __init__(self, url: str, placement: Placement) -> None:
        self.store: Store = open_given("pgvector", {"url": url}, collection(), placement)
        self.app: Plain = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self.app.execute("SELECT '[1]'::vector")  # pgvector adds settings when it is first used

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        """All that the application can see of its session."""
        return {name: self.app.execute(query.encode()).fetchall() for name, query in _STATE.items()}

    def close(self) -> None:
        self.store.close()
        self.app.close()


@pytest.fixture
def placement(store_factory: StoreFactory) -> Placement:
    """A table in the schema of the test: a pooler takes no search path from a client."""
    options = conninfo_to_dict(store_factory.options["url"])["options"]
    schema = str(options).split("=")[1].split(",")[0]
    return Placement(table=f"{schema}.products")


@pytest.fixture
def open_pooled(postgres_url: str, placement: Placement, tmp_path: Path) -> Iterator[Callable[..., Pooled]]:
    """Starts one pooler, with SQL for its server connection."""
    with ExitStack() as stack:

        def start(at_connect: str = "") -> Pooled:
            pooled = Pooled(stack.enter_context(pooler(postgres_url, tmp_path, at_connect=at_connect)), placement)
            stack.callback(pooled.close)
            return pooled

        yield start


def test_no_call_leaves_anything_in_the_session_of_the_application(open_pooled: Callable[..., Pooled]) -> None:
    pooled = open_pooled()
    store, before = pooled.store, pooled.state()

    def scan() -> None:
        (chunk,) = store.plan_chunks(100)
        assert len(contents(store.scan(chunk, 2))) == 3

    def apply() -> None:
        events = batch([(Op.UPSERT, "a", at(1)), (Op.UPSERT, "b", at(2)), (Op.UPSERT, "c", at(3))])
        assert set(store.apply(events, (LiveMark(partition=0, next_offset=9),)).tolist()) == {Outcome.APPLIED}

    calls: dict[str, Callable[[], object]] = {
        "check": store.check,
        "create": lambda: store.create(complete=False),
        "apply": apply,
        "applied": store.applied,
        "scan": scan,
        "export": lambda: store.export(None, 9),
        "fetch": lambda: store.fetch(["a"]),
        "search": lambda: store.search(np.ones(DIMENSION, np.float32), 3, (), 30.0),
        "count": store.count,
        "count_unstamped": store.count_unstamped,
        "highest_position": store.highest_position,
        "index_ready": store.index_ready,
        "build_index": store.build_index,
        "remarks": store.remarks,
        "fields": store.fields,
        "size": store.size,
        "owner_statements": lambda: store.owner_statements(complete=False),
        "plan_chunks": lambda: store.plan_chunks(2),
        "maintain": store.maintain,
    }
    assert {name for name in vars(Store) if not name.startswith("_")} - set(calls) == {"close"}
    for name, call in calls.items():
        call()
        after = pooled.state()
        assert {kind: set(rows) ^ set(before[kind]) for kind, rows in after.items() if rows != before[kind]} == {}, name
    assert store.index_ready()
    assert store.remarks() == ("a pooler is between; vecferry leaves no setting behind",)


def test_a_build_that_the_role_has_no_time_for_says_what_to_change(
    open_pooled: Callable[..., Pooled], postgres_url: str
) -> None:
    pooled = open_pooled("SET statement_timeout = 150")
    store = pooled.store
    store.create(complete=False)
    store.apply(batch((Op.UPSERT, f"id-{i}", at(i)) for i in range(20)), ())  # takes no notice of that limit
    assert "statement_timeout = 150ms may stop the build" in store.remarks()[1]
    with psycopg.connect(postgres_url) as holder:  # a snapshot that the build waits for
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        with pytest.raises(Refused, match=r"= 150ms may stop .*ALTER ROLE postgres SET statement_timeout = 0"):
            store.build_index()
    assert store.index_ready()  # twenty rows want none, and none is left half built
