"""A shop's table stays as it is: what enrolment accepts beside its rows, what it says of it, and what then happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from store_data import DIMENSION, PLACEMENT, at, batch, collection, contents, seeds, vector_for
from store_factory import StoreFactory, open_given
from vecferry.errors import Refused, Rejected
from vecferry.schemas.batch import Op, Outcome
from vecferry.schemas.collection import Placement
from vecferry.schemas.position import base_position
from vecferry.stores.base import Store
from vecferry.stores.pgvector.catalog import Extension, Server, read_server
from vecferry.stores.pgvector.refusals import server_problems

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]
TYPED = Placement(table="items", id="id", vector="v", metadata=("title", "price"))
GOOD = f"id text PRIMARY KEY, v vector({DIMENSION}), title text, price numeric"
VECTOR = str(vector_for(1).tolist())


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


def enrolled(factory: StoreFactory, placement: Placement = TYPED) -> Store:
    store = factory.open(collection(), placement)
    assert store.check() == ()
    store.create(complete=True)
    return store


def remark(store: Store, word: str) -> str:
    (found,) = [line for line in store.remarks() if word in line]
    return found


def test_rows_without_a_vector_stay_and_are_left_out(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE items ({GOOD})".encode())
    plain.execute("INSERT INTO items VALUES ('a', %s, 'x', 1), ('b', NULL, 'y', 2), ('c', NULL, 'z', 3)", [VECTOR])
    assert "2 rows without a vector stay as they are" in remark(store_factory.open(collection(), TYPED), "vector")
    store = enrolled(store_factory)
    assert "2 rows without a vector" in remark(store, "vector")
    assert store.count() == 1
    assert {hit.id for hit in store.search(np.ones(DIMENSION, np.float32), 9, (), 30)} == {"a"}
    assert set(contents(page for chunk in store.plan_chunks(1) for page in store.scan(chunk, 1))) == {"a"}
    assert set(contents(store.export(None, 9).rows)) == set(contents(store.fetch(["a", "b"]))) == {"a"}
    store.apply(batch([(Op.UPSERT, "b", at(1), {"title": "new"}), (Op.DELETE, "c", at(2))]), ())
    assert set(contents(store.export(None, 9).rows)) == {"a", "b"}
    assert contents(store.fetch(["c"]))["c"].vector is None
    assert plain.execute("SELECT id FROM items ORDER BY id").fetchall() == [("a",), ("b",)]


def test_rows_that_point_at_the_table_are_named_and_kept(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE items ({GOOD})".encode())
    plain.execute("INSERT INTO items VALUES ('a', %s, 'x', 1), ('b', %s, 'y', 2)", [VECTOR, VECTOR])
    plain.execute("CREATE TABLE order_lines (item text REFERENCES items)")
    plain.execute("INSERT INTO order_lines VALUES ('a')")
    plain.execute("CREATE TABLE photos (item text REFERENCES items ON DELETE CASCADE)")
    store = enrolled(store_factory)
    assert "is refused by the database and becomes a dead letter" in remark(store, "order_lines")
    assert "deletes those rows of photos too" in remark(store, "photos")
    with pytest.raises(Rejected, match="order_lines"):
        store.apply(batch([(Op.DELETE, "a", at(1))]), ())
    assert (
        store.apply(batch([(Op.DELETE, "b", at(2)), (Op.UPSERT, "a", at(3), {})]), ()).tolist() == [Outcome.APPLIED] * 2
    )
    assert plain.execute("SELECT count(*) FROM order_lines").fetchone() == (1,)


TOUCH = "NEW.title := NEW.title; NEW.updated := now(); RETURN NEW;"
LOWER = "NEW.title := lower(NEW.title); RETURN NEW;"
HOLD = "RETURN NULL;"


def make_trigger(plain: Plain, body: str, when: str) -> None:
    plain.execute(f"CREATE TABLE items ({GOOD}, updated timestamptz)".encode())
    plain.execute(f"CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$".encode())
    plain.execute(f"CREATE TRIGGER touch {when} ON items FOR EACH ROW EXECUTE FUNCTION t()".encode())


def test_an_updated_at_trigger_is_left_alone(store_factory: StoreFactory, plain: Plain) -> None:
    make_trigger(plain, TOUCH, "BEFORE INSERT OR UPDATE")
    store = enrolled(store_factory)
    assert "updated_at" in remark(store, "trigger touch")
    for offset in (1, 2):
        assert store.apply(batch([(Op.UPSERT, "a", at(offset), {"title": "X"})]), ()).tolist() == [Outcome.APPLIED]
    assert plain.execute("SELECT title, updated IS NOT NULL FROM items").fetchall() == [("X", True)]
    assert store.apply(batch([(Op.UPSERT, "a", at(1), {}), (Op.DELETE, "b", at(3))]), ()).tolist() == [
        Outcome.STALE,
        Outcome.APPLIED,
    ]
    store.apply(batch([(Op.DELETE, "a", at(4))]), ())
    assert store.count() == 0


@pytest.mark.parametrize(
    ("body", "when", "op"),
    [
        (LOWER, "BEFORE INSERT OR UPDATE", Op.UPSERT),
        (HOLD, "BEFORE INSERT OR UPDATE", Op.UPSERT),
        (HOLD, "BEFORE DELETE", Op.DELETE),
    ],
    ids=["changes", "holds a write back", "holds a delete back"],
)
def test_a_write_that_a_trigger_changes_becomes_a_dead_letter(
    store_factory: StoreFactory, plain: Plain, body: str, when: str, op: Op
) -> None:
    make_trigger(plain, body, when)
    plain.execute("ALTER TABLE items DISABLE TRIGGER touch")
    plain.execute("INSERT INTO items VALUES ('a', %s, 'x', 1)", [VECTOR])
    plain.execute("ALTER TABLE items ENABLE TRIGGER touch")
    store = enrolled(store_factory)
    with pytest.raises(Rejected, match=r"a trigger of .*items.* id a"):
        store.apply(batch([(op, "a", at(1), {"title": "UPPER"})]), ())
    assert contents(store.fetch(["a"]))["a"].metadata == {"title": "x", "price": 1}


def test_a_unique_column_keeps_its_index(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE items ({GOOD}, UNIQUE (title))".encode())
    store = enrolled(store_factory)
    assert "becomes a dead letter" in remark(store, "items_title_key")
    store.apply(batch([(Op.UPSERT, "a", at(1), {"title": "x"})]), ())
    with pytest.raises(Rejected, match="items_title_key"):
        store.apply(batch([(Op.UPSERT, "b", at(2), {"title": "x"})]), ())


@pytest.mark.parametrize("kind", ["smallserial", "serial", "integer", "bigserial"])
def test_whole_numbers_of_any_size_are_ids(store_factory: StoreFactory, plain: Plain, kind: str) -> None:
    plain.execute(f"CREATE TABLE items (id {kind} PRIMARY KEY, v vector({DIMENSION}), m jsonb)".encode())
    for number in (2, 10, 9, 100, -1):
        plain.execute("INSERT INTO items VALUES (%s, %s, '{}')", [number, VECTOR])
    of, placement = collection(id_type="bigint"), Placement(table="items", vector="v", metadata="m")
    store = store_factory.open(of, placement)
    assert store.check() == ()
    store.create(complete=True)
    store.apply(batch([(Op.UPSERT, "3", at(1), {}), (Op.DELETE, "9", at(2)), (Op.UPSERT, "10", at(3), {})]), ())
    ordered = ["-1", "2", "3", "10", "100"]
    assert [id_ for chunk in store.plan_chunks(2) for page in store.scan(chunk, 1) for id_ in page.ids] == ordered
    assert [*store.export(None, 2).rows.ids, *store.export("2", 9).rows.ids] == ordered
    found = contents(store.fetch([*ordered, "9", "99999999999"]))
    assert found["9"].vector is None
    assert (found["10"].position, found["2"].position) == (at(3), base_position(1))
    assert "99999999999" not in found
    if kind != "bigserial":
        with pytest.raises(Rejected):
            store.apply(batch([(Op.UPSERT, "99999999999", at(4), {})]), ())


SURVIVE = {
    "real": ("0.1", "'NaN'", "1e30"),
    "char(9)": ("'ab'",),
    "money": ("'1234.50'",),
    "timestamp": ("'2024-02-29 12:30:00.123456'", "'infinity'", "'0044-03-15 BC'"),
    "timestamptz": ("'2024-02-29 12:30:00.123456+02'",),
    "time": ("'12:30:00.5'",),
    "timetz": ("'12:30:00.5+02'",),
    "interval": ("'1 year -3 days 04:05:06.789'",),
    "bytea": (r"'\x00ff61'",),
    "inet": ("'10.0.0.1/8'", "'::1'"),
    "cidr": ("'10.0.0.0/8'",),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "int4range": ("'[1,5)'", "'empty'", "'(,5)'"),
    "tstzrange": ("'[2024-01-01,2024-02-01)'",),
    "int4multirange": ("'{[1,3),[5,7)}'",),
    "mood": ("'so so'",),
    "uuid[]": ("ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, NULL]",),
    "numeric[]": ("ARRAY[1.50, 'NaN']",),
    "int[]": ("ARRAY[[1,2],[3,4]]", "'{}'"),
    "mood[]": ("ARRAY['sad'::mood]",),
    "jsonb[]": ("""ARRAY['{"a": [1]}'::jsonb]""",),
    "sized": ("ROW(1, 'x')::sized",),
    "posint": ("7",),
    "point": ("'(0.1,2)'",),
    "bit(3)": ("B'101'",),
    "tsvector": ("'a:1 b:2A'",),
    "vector(3)": ("'[0.1,2,3]'",),
    "pg_lsn": ("'16/B374D848'",),
}
MADE = (
    "CREATE TYPE mood AS ENUM ('sad', 'so so')",
    "CREATE TYPE sized AS (n int, label text)",
    "CREATE DOMAIN posint AS int CHECK (value > 0)",
)


def test_every_type_that_survives_the_guards_own_comparison_is_metadata(
    store_factory: StoreFactory, plain: Plain
) -> None:
    for statement in MADE:
        plain.execute(statement.encode())
    names = {f"c{number}": kind for number, kind in enumerate(SURVIVE)}
    columns = ", ".join(f"{name} {kind}" for name, kind in names.items())
    plain.execute(f"CREATE TABLE items (id text PRIMARY KEY, v vector({DIMENSION}), {columns})".encode())
    for name, kind in names.items():
        for number, value in enumerate(SURVIVE[kind]):
            plain.execute(
                f"INSERT INTO items (id, v, {name}) VALUES ('{name}-{number}', %s, {value})".encode(), [VECTOR]
            )
    store = enrolled(store_factory, replace(TYPED, metadata=tuple(names)))
    before = store.export(None, 999).rows
    assert len(before) == sum(map(len, SURVIVE.values()))
    as_text = "SELECT array_agg(t::text ORDER BY id) FROM (SELECT {} FROM items) t".format(", ".join(("id", *names)))
    values = plain.execute(as_text.encode()).fetchone()
    events = replace(
        batch([(Op.UPSERT, id_, at(number), {}) for number, id_ in enumerate(before.ids)]),
        metadata=list(before.metadata),
    )
    assert not store.apply(events, ()).any()
    assert plain.execute(as_text.encode()).fetchone() == values
    assert dict(zip(before.ids, before.metadata, strict=True)) == {
        id_: text for page in [store.export(None, 999).rows] for id_, text in zip(page.ids, page.metadata, strict=True)
    }


def test_a_type_that_json_does_not_carry_back_is_refused(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute("CREATE TYPE size AS ENUM ('s', 'm')")
    plain.execute("CREATE FUNCTION shown(size) RETURNS json LANGUAGE sql AS 'SELECT json_build_array($1::text)'")
    plain.execute("CREATE CAST (size AS json) WITH FUNCTION shown(size)")
    plain.execute(f"CREATE TABLE items ({GOOD}, s size)".encode())
    (problem,) = store_factory.open(collection(), replace(TYPED, metadata=("title", "s"))).check()
    assert "the metadata column s, " in problem
    assert "come back from JSON as other ones; add a text or jsonb column beside it" in problem


@pytest.mark.parametrize("declared", ['text COLLATE "POSIX"', 'varchar(20) COLLATE "POSIX"', 'text COLLATE "C"'])
def test_an_id_with_a_collation_of_its_own_can_be_fetched(
    store_factory: StoreFactory, plain: Plain, declared: str
) -> None:
    plain.execute(
        f"CREATE TABLE items (id {declared} PRIMARY KEY, v vector({DIMENSION}), title text, price int)".encode()
    )
    plain.execute("INSERT INTO items VALUES ('B', %s), ('a', %s)", [VECTOR, VECTOR])
    store = enrolled(store_factory)
    store.apply(batch([(Op.UPSERT, "c", at(1), {}), (Op.DELETE, "a", at(2))]), ())
    assert set(contents(store.fetch(["a", "B", "c"]))) == {"a", "B", "c"}
    assert [id_ for chunk in store.plan_chunks(1) for page in store.scan(chunk, 1) for id_ in page.ids] == ["B", "c"]
    assert store.export("B", 9).rows.ids == ["c"]


@pytest.mark.parametrize("existing", [True, False])
def test_the_extension_may_lie_where_the_search_path_does_not_look(store_factory: StoreFactory, existing: bool) -> None:
    if existing:
        store_factory.make_existing(collection(), PLACEMENT, seeds(3))
    url = store_factory.options["url"].replace(",public", "")
    assert url != store_factory.options["url"]
    store = open_given("pgvector", {"url": url}, collection(), PLACEMENT)
    assert store.check() == ()
    store.create(complete=True)
    store.apply(batch([(Op.UPSERT, "a", at(1), {}), (Op.DELETE, "b", at(2))]), ())
    store.build_index()
    wanted = {"a", *([f"sku-{n:04}" for n in range(3)] if existing else [])}
    assert {hit.id for hit in store.search(np.ones(DIMENSION, np.float32), 9, (), 30)} == wanted
    assert set(contents(store.export(None, 9).rows)) == set(contents(store.fetch(sorted(wanted)))) == wanted
    assert set(contents(page for chunk in store.plan_chunks(1) for page in store.scan(chunk, 1))) == wanted
    store.close()


def test_versions_that_are_too_old_are_named_before_anything_is_changed(store_factory: StoreFactory) -> None:
    with psycopg.connect(store_factory.options["url"], cursor_factory=psycopg.RawCursor) as connection:
        server = read_server(connection)
    assert list(server_problems(server)) == []
    assert server.extension is not None
    old = replace(server.extension, version="0.7.4")
    assert "the extension vector is 0.7.4, and 0.8.0 is the oldest" in _only(replace(server, extension=old))
    assert "ALTER EXTENSION vector UPDATE" in _only(replace(server, extension=old))
    assert "is PostgreSQL 12; use 13 or newer" in _only(replace(server, version=120_016))
    assert "CREATE EXTENSION vector" in _only(replace(server, extension=None))
    assert "GRANT USAGE ON SCHEMA" in _only(replace(server, extension=replace(server.extension, usable=False)))
    odd = Extension(version="0.8.0.google-3", schema="x", usable=True, vector_oid=1)
    assert list(server_problems(replace(server, extension=odd))) == []


def _only(server: Server) -> str:
    (problem,) = server_problems(server)
    return problem


def test_a_collection_may_have_no_metadata_at_all(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE items (id text PRIMARY KEY, v vector({DIMENSION}))".encode())
    plain.execute("INSERT INTO items VALUES ('a', %s)", [VECTOR])
    store = enrolled(store_factory, replace(TYPED, metadata=()))
    store.apply(batch([(Op.UPSERT, "b", at(1), {}), (Op.DELETE, "c", at(2))]), ())
    with pytest.raises(Rejected, match="no column for"):
        store.apply(batch([(Op.UPSERT, "d", at(3), {"title": "x"})]), ())
    assert {id_: row.metadata for id_, row in contents(store.export(None, 9).rows).items()} == {"a": {}, "b": {}}
    assert {hit.id for hit in store.search(np.ones(DIMENSION, np.float32), 9, (), 30)} == {"a", "b"}
    assert set(contents(page for chunk in store.plan_chunks(1) for page in store.scan(chunk, 1))) == {"a", "b"}
    made = store_factory.open(collection(), replace(TYPED, table="made", metadata=()))
    made.create(complete=False)
    assert made.apply(batch([(Op.UPSERT, "b", at(1), {})]), ()).tolist() == [Outcome.APPLIED]


def test_row_level_security_is_refused_only_where_it_hides_rows(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute(f"CREATE TABLE items ({GOOD})".encode())
    plain.execute("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
    assert store_factory.open(collection(), TYPED).check() == ()
    with pytest.raises(Refused, match="is not enrolled"):
        store_factory.open(collection(), TYPED).count()
