"""What enrolment of an application's table does, and everything that it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from store_data import PLACEMENT, at, batch, collection, contents, seeds
from store_factory import StoreFactory, open_given
from vecferry.errors import ConfigError, Refused, Unavailable
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import Collection, Placement
from vecferry.stores.pgvector.catalog import read_table
from vecferry.stores.pgvector.refusals import table_problems

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]
TYPED = Placement(table="items", id="id", vector="v", metadata=("title", "price"))


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


GOOD = "id text PRIMARY KEY, v vector(8) NOT NULL, title text, price numeric"
REFUSED = [
    ("id numeric PRIMARY KEY, v vector(8), title text, price int", "", "use text, varchar, an integer type or uuid"),
    ("id integer PRIMARY KEY, v vector(8), title text, price int", "", 'set id_type = "bigint"'),
    ("id bigint PRIMARY KEY, v vector(8), title text, price int", "", 'set id_type = "bigint"'),
    ("id text NOT NULL, v vector(8), title text, price int", "", "not unique by itself"),
    ("id text UNIQUE, v vector(8), title text, price int", "", "may be null"),
    ("id text, v vector(8), title text, price int, PRIMARY KEY (id, title)", "", "not unique by itself"),
    ("id text PRIMARY KEY DEFERRABLE, v vector(8), title text, price int", "", "not unique by itself"),
    (
        "id text NOT NULL, v vector(8), title text, price int",
        "CREATE UNIQUE INDEX ON items (id) WHERE price > 1",
        "unique",
    ),
    ("sku text PRIMARY KEY, v vector(8), title text, price int", "", "id column id does not exist"),
    ("id text PRIMARY KEY, title text, price int", "", "vector column v does not exist"),
    ("id text PRIMARY KEY, v vector(9), title text, price int", "", "needs vector(8); set dimension = 9"),
    ("id text PRIMARY KEY, v vector, title text, price int", "", "needs vector(8)"),
    ("id text PRIMARY KEY, v halfvec(8), title text, price int", "", "needs vector(8)"),
    ("id text PRIMARY KEY, v vector(8), title text", "", "metadata column price does not exist"),
    (f"{GOOD}, owner text NOT NULL", "", "column owner is NOT NULL"),
    (
        "id text PRIMARY KEY, v vector(8), title text, price int GENERATED ALWAYS AS (length(title)) STORED",
        "",
        "generated",
    ),
    (f"{GOOD}, vecferry_position int", "", "is integer, not a nullable bigint"),
    (GOOD, "ALTER TABLE items SET UNLOGGED", "loses rows in a crash"),
    (GOOD, "CREATE TABLE child () INHERITS (items)", "inherit"),
    (GOOD, "CREATE RULE r AS ON DELETE TO items DO INSTEAD NOTHING", "rules"),
    (
        GOOD,
        "INSERT INTO items SELECT repeat('x', 513), '[1,2,3,4,5,6,7,8]'",
        "1 row with an id that is empty or longer",
    ),
]


@pytest.mark.parametrize(("columns", "further", "problem"), REFUSED)
def test_refusals(store_factory: StoreFactory, plain: Plain, columns: str, further: str, problem: str) -> None:
    plain.execute(f"CREATE TABLE items ({columns})".encode())
    if further:
        plain.execute(further.encode())
    store = store_factory.open(collection(), TYPED)
    assert [line for line in store.check() if problem in line]
    with pytest.raises(Refused) as refused:
        store.create(complete=True)
    assert [line for line in refused.value.problems if problem in line]
    assert store.applied().live == {}


def test_a_collation_that_calls_different_ids_equal_is_refused(store_factory: StoreFactory, plain: Plain) -> None:
    # Judged on the catalogue's facts: not every build of PostgreSQL can make such a collation.
    plain.execute(f"CREATE TABLE items ({GOOD})".encode())
    table = read_table(psycopg.connect(store_factory.options["url"], cursor_factory=psycopg.RawCursor), ("items",))
    assert table is not None
    assert list(table_problems(table, collection(), TYPED)) == []
    loose = replace(table, columns={**table.columns, "id": replace(table.columns["id"], deterministic=False)})
    assert ["deterministic" in line for line in table_problems(loose, collection(), TYPED)] == [True]


def test_kinds_of_relation_that_are_refused(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE base ({GOOD})".encode())
    plain.execute("CREATE VIEW items AS SELECT * FROM base")
    assert "is a view" in store_factory.open(collection(), TYPED).check()[0]
    plain.execute("DROP VIEW items")
    plain.execute(f"CREATE TABLE items ({GOOD}) PARTITION BY HASH (id)".encode())
    assert "is a partitioned table" in store_factory.open(collection(), TYPED).check()[0]


def test_one_json_column_must_hold_objects(store_factory: StoreFactory, plain: Plain) -> None:
    store_factory.make_existing(collection(), PLACEMENT, seeds(2))
    plain.execute("UPDATE products SET attributes = '[1]' WHERE sku = 'sku-0001'")
    assert "1 row where attributes is not a JSON object" in store_factory.open(collection(), PLACEMENT).check()[0]
    assert not store_factory.open(collection(), replace(PLACEMENT, metadata=("attributes",))).check()
    plain.execute("ALTER TABLE products ALTER attributes TYPE text")
    assert 'list it: metadata = ["attributes"]' in store_factory.open(collection(), PLACEMENT).check()[0]


def test_a_null_json_value_is_an_empty_object(store_factory: StoreFactory, plain: Plain) -> None:
    store_factory.make_existing(collection(), PLACEMENT, seeds(1))
    plain.execute("UPDATE products SET attributes = NULL")
    store = store_factory.open(collection(), PLACEMENT)
    store.create(complete=True)
    assert contents(store.fetch(["sku-0000"]))["sku-0000"].metadata == {}


def test_a_new_table_needs_one_json_column(store_factory: StoreFactory) -> None:
    store = store_factory.open(collection(), TYPED)
    assert "name one JSON column" in store.check()[0]
    assert "does not exist" in _refusal(store_factory, Placement(table="nowhere.items"))


def _refusal(factory: StoreFactory, placement: Placement, of: Collection | None = None) -> str:
    with pytest.raises(Refused) as refused:
        factory.open(of or collection(), placement).create(complete=False)
    return str(refused.value)


def test_a_locked_table_is_left_alone(
    store_factory: StoreFactory, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecferry.stores.pgvector.enrol.LOCK_TIMEOUT_S", 1)
    store_factory.make_existing(collection(), PLACEMENT, seeds(1))
    with plain.transaction():
        plain.execute("SELECT FROM products")
        (pid,) = plain.execute("SELECT pg_backend_pid()").fetchone() or (None,)
        refusal = _refusal(store_factory, PLACEMENT)
        assert f"process {pid} (" in refusal
        assert "idle in transaction, transaction open for" in refusal
        assert "holds AccessShareLock" in refusal
    assert store_factory.open(collection(), PLACEMENT).create(complete=True)


@pytest.mark.parametrize("table", ["public.t%", 'Mixed "Case" table', "x" * 63, "weiß; drop {0} $1"])
def test_names_that_need_quoting(store_factory: StoreFactory, plain: Plain, table: str) -> None:
    parts = table.replace('"', '""').split(".")
    if table.startswith("public."):
        schema = plain.execute("SELECT current_schema()").fetchone()
        assert schema is not None
        parts = [str(schema[0]), f"weird %s {parts[1]}"]
    written = ".".join(f'"{part}"' for part in parts)
    placement = Placement(
        table=written, id='the "id" %s', vector="Vector {0}", metadata=("100%", "a'b\\c", '"q"', "$1")
    )
    names = ", ".join('"{}" text'.format(name.replace('"', '""')) for name in placement.metadata)
    plain.execute(
        f'CREATE TABLE {written} ("the ""id"" %s" text PRIMARY KEY, "Vector {{0}}" vector(8), {names})'.encode()
    )
    store = store_factory.open(collection(), placement)
    store.create(complete=True)
    metadata = {name: f"of {name}" for name in placement.metadata}
    store.apply(batch([(Op.UPSERT, "a", at(1), metadata), (Op.DELETE, "b", at(2))]), ())
    assert contents(store.export(None, 9).rows)["a"].metadata == metadata
    assert contents(p for c in store.plan_chunks(1) for p in store.scan(c, 1)) == contents(store.export(None, 9).rows)
    assert contents(store.fetch(["b"]))["b"].vector is None
    store.build_index()
    assert store.create(complete=True) == ()


def test_the_table_of_a_later_schema_keeps_its_companions_beside_it(store_factory: StoreFactory, plain: Plain) -> None:
    store_factory.make_existing(collection(), PLACEMENT, seeds(1))
    first = plain.execute("SELECT current_schema()").fetchone()
    assert first is not None
    plain.execute(f"CREATE SCHEMA {first[0]}_x".encode())
    try:
        url = store_factory.options["url"].replace(f"%3D{first[0]}", f"%3D{first[0]}_x,{first[0]}")
        store = open_given("pgvector", {"url": url}, collection(), PLACEMENT)
        store.create(complete=True)
        assert store.applied().complete
        assert store_factory.open(collection(), PLACEMENT).applied() == store.applied()
        store.close()
    finally:
        plain.execute(f"DROP SCHEMA {first[0]}_x CASCADE".encode())


def test_a_store_that_is_not_there_is_unavailable_and_keeps_its_password(store_kind: str) -> None:
    store = open_given(store_kind, {"url": "postgresql://me:hush@127.0.0.1:1/shop"}, collection(), PLACEMENT)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/shop") as unavailable:
        store.count()
    assert "hush" not in str(unavailable.value)
    with pytest.raises(ConfigError) as wrong:
        open_given(store_kind, {"url": "postgresql//me:hush@x"}, collection(), PLACEMENT)
    assert "hush" not in str(wrong.value)


def test_a_table_that_was_not_enrolled_refuses_writes(store_factory: StoreFactory) -> None:
    store_factory.make_existing(collection(), PLACEMENT, seeds(1))
    with pytest.raises(Refused, match="vecferry enrol"):
        store_factory.open(collection(), PLACEMENT).apply(batch([(Op.UPSERT, "a", at(1))]), ())
    store = store_factory.open(collection(partitions=1), PLACEMENT)
    store.create(complete=False)
    with pytest.raises(Refused, match="partition"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), ())
