"""Typed metadata columns, the id types of PostgreSQL, and the json type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

import numpy as np
import psycopg
import pytest
from store_data import DIMENSION, Content, at, batch, collection, contents, vector_for
from store_factory import StoreFactory
from vecferry.errors import InvalidRecord, Rejected
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Outcome
from vecferry.schemas.collection import IdType, Placement
from vecferry.schemas.filters import parse_filter
from vecferry.schemas.position import base_position
from vecferry.stores.base import Store

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]

TYPES = {
    **{"t": "text", "vc": "varchar(5)", "si": "smallint", "i": "integer", "b": "bigint", "d": "double precision"},
    **{"yes": "boolean", "jb": "jsonb", "j": "json", "n": "numeric", "n2": "numeric(5,2)", "u": "uuid", "day": "date"},
    **{"moment": "timestamptz", "tags": "text[]"},
}
TYPED = Placement(table="items", id="id", vector="v", metadata=tuple(TYPES))


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def typed(store_factory: StoreFactory, plain: Plain) -> Store:
    """A store over a table with one column of every type that is allowed, and two that are not mapped."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES.items())
    plain.execute(
        f"CREATE TABLE items (own serial, id text PRIMARY KEY, {columns}, v vector({DIMENSION}) NOT NULL, "
        "born timestamp DEFAULT now() NOT NULL)".encode()
    )
    store = store_factory.open(collection(), TYPED)
    store.create(complete=True)
    return store


FITS: list[dict[str, object]] = [
    {},
    {"t": "", "vc": "abcde", "si": -(2**15), "i": 2**31 - 1, "b": 2**63 - 1, "d": 0.1, "yes": False},
    {"t": 'it\'s \\ "x" \U0001f600\n', "d": 1e300, "b": -(2**63), "yes": True, "d2": None},
    {"jb": {"a": [1, None, {"b": True}]}, "j": [1, "x", None], "tags": ["a", "b c", 'q"', "", "NULL", "{}"]},
    {"jb": "text", "j": 5, "tags": []},
    {"n": 12345678901234567890123, "n2": 999.99, "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "day": "2024-02-29"},
    {"n": 0.1, "n2": 1.5, "moment": "2024-02-29T12:30:00.123456+00:00", "d": -0.0},
    {"t": "null", "d": 5e-324, "i": 0, "tags": ["null"]},
]


def test_values_that_fit_come_back_as_they_went_in(typed: Store) -> None:
    typed.apply(batch((Op.UPSERT, f"r{i}", at(i), value) for i, value in enumerate(FITS)), ())
    wanted = {
        f"r{i}": Content(
            position=at(i),
            vector=vector_for(at(i)).tobytes(),
            metadata={key: member for key, member in value.items() if member is not None},
        )
        for i, value in enumerate(FITS)
    }
    assert contents(typed.fetch(list(wanted))) == wanted
    assert contents(typed.export(None, 100).rows) == wanted
    assert contents(page for chunk in typed.plan_chunks(3) for page in typed.scan(chunk, 2)) == wanted
    hits = typed.search(np.ones(DIMENSION, dtype=np.float32), 100, (), 30)
    assert {hit.id: hit.metadata for hit in hits} == {id_: content.metadata for id_, content in wanted.items()}


@pytest.mark.parametrize(
    "metadata",
    [
        {"unknown": 1},
        {"own": 5},
        {"born": "2024-01-01"},
        {"v": [1]},
        {"t": 5},
        {"t": True},
        {"vc": "abcdef"},
        {"vc": "abcde "},
        {"si": 2**15},
        {"i": 1.5},
        {"i": "1"},
        {"b": 2**63},
        {"d": "0.1"},
        {"d": 12345678901234567890123},
        {"yes": "true"},
        {"yes": 1},
        {"n": "1"},
        {"n2": 1.234},
        {"n2": 1000},
        {"u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
        {"u": "no"},
        {"day": "2024-2-1"},
        {"day": "2024-02-30"},
        {"day": "yesterday"},
        {"moment": "2024-02-29T12:30:00Z"},
        {"tags": "a"},
        {"tags": [1]},
        {"jb": "nul \0 inside"},
    ],
    ids=str,
)
def test_a_value_that_would_be_changed_or_lost_rejects_the_batch(typed: Store, metadata: Mapping[str, object]) -> None:
    events = batch([(Op.UPSERT, "good", at(1), {"t": "x"}), (Op.UPSERT, "bad", at(2), metadata)])
    with pytest.raises(Rejected):
        typed.apply(events, (LiveMark(partition=0, next_offset=9),))
    assert contents(typed.fetch(["good", "bad"])) == {}
    assert typed.applied().live[0] == 0
    assert typed.apply(events.take(np.array([0])), ()).tolist() == [Outcome.APPLIED]


@pytest.mark.parametrize("metadata", [b"[1]", b'"text"', b"{", b"", b"null", b'{"a": NaN}', b'{"a": "\\u0000"}'])
@pytest.mark.parametrize("one_column", [None, "jsonb", "json"])
def test_metadata_that_is_no_json_object_is_rejected_whole(
    store_factory: StoreFactory, typed: Store, plain: Plain, metadata: bytes, one_column: str | None
) -> None:
    store = typed
    if one_column is not None:
        plain.execute(f"CREATE TABLE one (id text PRIMARY KEY, vector vector(8), metadata {one_column})".encode())
        store = store_factory.open(collection(), Placement(table="one"))
        store.create(complete=False)
    good = batch([(Op.UPSERT, "good", at(1), {}), (Op.UPSERT, "bad", at(2), {})])
    columns = {name: getattr(good, name) for name in ("ids", "ops", "partitions", "positions", "vectors")}
    with pytest.raises(Rejected):
        store.apply(EventBatch(**columns, metadata=[b"{}", metadata]), ())
    assert contents(store.fetch(["good", "bad"])) == {}


def test_columns_that_are_not_mapped_are_left_alone(typed: Store, plain: Plain) -> None:
    typed.apply(batch([(Op.UPSERT, "a", at(1), {"t": "x", "i": 1})]), ())
    plain.execute("UPDATE items SET born = '2000-01-01', own = 77")
    typed.apply(batch([(Op.UPSERT, "a", at(2), {"t": "y"})]), ())
    found = plain.execute("SELECT own, born::text, t, i FROM items").fetchall()
    assert found == [(77, "2000-01-01 00:00:00", "y", None)]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"t": "x"}, {"a", "b"}),
        ({"t": {"$in": ["x", "y", 5]}}, {"a", "b", "c"}),
        ({"t": None}, {"d", "e"}),
        ({"t": 5}, set()),
        ({"i": 1}, {"a"}),
        ({"i": 1.0}, {"a"}),
        ({"i": 1.5}, set()),
        ({"i": True}, set()),
        ({"i": 10**30}, set()),
        ({"d": 1}, {"b"}),
        ({"d": 0.5}, {"a"}),
        ({"d": 10**400}, set()),
        ({"n": 0.1}, {"a"}),
        ({"n": 2}, {"b"}),
        ({"yes": True}, {"a"}),
        ({"yes": 1}, set()),
        ({"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {"a"}),
        ({"u": "not a uuid"}, set()),
        ({"day": "2024-02-29"}, {"a"}),
        ({"day": "29 Feb 2024"}, set()),
        ({"jb": "text"}, {"a"}),
        ({"jb": 1}, {"b"}),
        ({"j": True}, {"a"}),
        ({"tags": "x"}, set()),
        ({"tags": None}, {"b", "c", "d", "e"}),
        ({"jb": None}, {"c", "d", "e"}),
        ({"t": "x", "i": 1}, {"a"}),
        ({"t": "nul\0"}, set()),
    ],
)
def test_filters_on_typed_columns(typed: Store, plain: Plain, spec: dict[str, object], wanted: set[str]) -> None:
    rows: dict[str, dict[str, object]] = {
        "a": {"t": "x", "i": 1, "d": 0.5, "n": 0.1, "yes": True, "day": "2024-02-29", "jb": "text", "j": True}
        | {"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "tags": ["x"]},
        "b": {"t": "x", "i": 2, "d": 1, "n": 2, "yes": False, "jb": 1},
        "c": {"t": "y"},
        "d": {},
        "e": {"i": 7},
    }
    typed.apply(batch((Op.UPSERT, id_, at(1), value) for id_, value in rows.items()), ())
    plain.execute("UPDATE items SET jb = 'null' WHERE id = 'e'")
    hits = typed.search(np.ones(DIMENSION, dtype=np.float32), 10, parse_filter(spec), 30)
    assert {hit.id for hit in hits} == wanted
    assert contents(typed.fetch(["e"]))["e"].metadata == {"i": 7}


def test_a_filter_on_an_unknown_column_is_invalid(typed: Store) -> None:
    with pytest.raises(InvalidRecord, match="not a metadata column"):
        typed.search(np.ones(DIMENSION, dtype=np.float32), 10, parse_filter({"own": 1}), 30)


IDS: dict[IdType, Callable[[int], str]] = {
    "bigint": lambda i: str((-1) ** i * i * 10**15),
    "uuid": lambda i: str(UUID(int=i * 2**100 + i)),
    "text": lambda i: f"{i:x}",
}


@pytest.mark.parametrize("declared", ["bigint", "uuid", "varchar(20)", 'text COLLATE "C"', "bigint identity"])
def test_id_types(store_factory: StoreFactory, plain: Plain, declared: str) -> None:
    id_type: IdType = "bigint" if "bigint" in declared else "uuid" if declared == "uuid" else "text"
    make = IDS[id_type]
    column = declared.replace("identity", "GENERATED ALWAYS AS IDENTITY")
    plain.execute(f"CREATE TABLE items (id {column} PRIMARY KEY, v vector({DIMENSION}), m json)".encode())
    for i in range(1, 9):
        row = (make(i), vector_for(i).tolist(), '{"i": 1}')
        plain.execute("INSERT INTO items OVERRIDING SYSTEM VALUE VALUES (%s, %s::real[]::vector, %s)", row)
    store = store_factory.open(collection(id_type=id_type), Placement(table="items", vector="v", metadata="m"))
    store.create(complete=True)
    store.build_index()
    ids = [make(i) for i in range(1, 13)]
    store.apply(batch([(Op.UPSERT, id_, at(1)) for id_ in ids[6:]] + [(Op.DELETE, id_, at(1)) for id_ in ids[:2]]), ())
    found = contents(store.fetch([*ids, "not one", "007", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "1e3"]))
    assert [found[id_].position for id_ in ids] == [at(1)] * 2 + [base_position(1)] * 4 + [at(1)] * 6
    live = {id_: content for id_, content in found.items() if content.vector is not None}
    assert set(live) == set(ids[2:])
    assert contents(page for chunk in store.plan_chunks(3) for page in store.scan(chunk, 2)) == live
    assert contents(store.export(None, 100).rows) == live
    after = store.export(None, 4).rows.ids
    assert contents(store.export(after[-1], 100).rows).keys() == live.keys() - set(after)
    assert {hit.id for hit in store.search(vector_for(3), 50, (), 30)} == set(live)


@pytest.mark.parametrize(("id_type", "id_"), [("bigint", "007"), ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")])
def test_an_id_that_is_not_canonical_is_rejected(store_factory: StoreFactory, id_type: IdType, id_: str) -> None:
    store = store_factory(collection(id_type=id_type), Placement(table="items"))
    with pytest.raises(Rejected, match="canonical"):
        store.apply(batch([(Op.UPSERT, id_, at(1))]), ())
    assert store.count() == 0


def test_a_json_column_keeps_its_text(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute("CREATE TABLE items (id text PRIMARY KEY, vector vector(8), metadata json)")
    store = store_factory.open(collection(), Placement(table="items"))
    store.create(complete=False)
    store.apply(batch([(Op.UPSERT, "a", at(1), {"b": 1.0, "a": [1e23]})]), ())
    assert store.export(None, 1).rows.metadata == [json.dumps({"b": 1.0, "a": [1e23]}).encode()]
