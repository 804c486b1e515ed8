"""The table of values in the guide, tried row by row: spelled, stored, and given back by PostgreSQL as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from documents import section, text_of
from store_data import DIMENSION, at, batch, collection
from store_factory import StoreFactory
from vecferry.errors import InvalidRecord
from vecferry.schemas.batch import EventBatch, Op
from vecferry.schemas.collection import Placement
from vecferry.schemas.fields import Field
from vecferry.schemas.plain import encode
from vecferry.schemas.spelling import Spelling
from vecferry.stores.base import Store

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]


def table_of_the_guide() -> list[tuple[str, str, str]]:
    """Type, value given and value that comes back, the values as JSON; "—" where it is refused."""
    lines = section(text_of("docs/developer/values.md"), "In a typed column").splitlines()
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    return [(type_, given, comes_back) for type_, given, comes_back in rows]


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


def typed_store(store_factory: StoreFactory, plain: Plain, types: dict[str, str]) -> Store:
    columns = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    plain.execute(f"CREATE TABLE items (id text PRIMARY KEY, v vector({DIMENSION}) NOT NULL, {columns})".encode())
    store = store_factory.open(collection(), Placement(table="items", vector="v", metadata=tuple(types)))
    store.create(complete=True)
    return store


def with_texts(texts: list[bytes]) -> EventBatch:
    events = batch((Op.UPSERT, f"r{i}", at(i), {}) for i in range(len(texts)))
    columns = {name: getattr(events, name) for name in ("ids", "ops", "partitions", "positions", "vectors")}
    return EventBatch(**columns, metadata=texts)


def exact(text: bytes | str) -> object:
    """JSON, with numbers as they are spelled."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def test_every_row_of_the_guide_comes_back_from_postgresql_as_it_says(
    store_factory: StoreFactory, plain: Plain
) -> None:
    table = table_of_the_guide()
    assert len(table) > 30
    types = {f"c{number}": type_ for number, type_ in enumerate(dict.fromkeys(row[0] for row in table))}
    names = {type_: name for name, type_ in types.items()}
    store = typed_store(store_factory, plain, types)
    spelling = Spelling([store.fields()])
    published, expected = [], []
    for type_, given, comes_back in table:
        if comes_back == "—":
            with pytest.raises(InvalidRecord):
                spelling.row({names[type_]: json.loads(given)})
        else:
            # Exact where Python has the digits, else as a Decimal, which an application would use.
            value = json.loads(given, parse_float=lambda text: float(text) if len(text) < 20 else Decimal(text))
            published.append(encode(spelling.row({names[type_]: value})))
            expected.append({names[type_]: exact(comes_back)})
    store.apply(with_texts(published), ())
    found = store.fetch([f"r{i}" for i in range(len(published))])
    by_id = dict(zip(found.ids, found.metadata, strict=True))
    assert [exact(by_id[f"r{i}"]) for i in range(len(published))] == expected
    assert [exact(text) for text in published] == expected
    # What comes back is spelled already: a row of the old store passes through a copy unchanged.
    assert [exact(spelling.text(text)) for text in by_id.values()] == [exact(text) for text in by_id.values()]


def test_columns_are_read_with_what_they_demand(store_factory: StoreFactory, plain: Plain) -> None:
    types = {
        "a": "integer NOT NULL DEFAULT 3",
        "b": "text NOT NULL DEFAULT 'it''s'",
        "c": "numeric(10,2) NOT NULL DEFAULT -1.5",
        "d": "text[] NOT NULL DEFAULT '{}'",
        "e": "boolean NOT NULL DEFAULT false",
        "f": "timestamptz NOT NULL DEFAULT now()",
        "g": "date NOT NULL DEFAULT '2026-01-31'",
        "h": "text DEFAULT 'x'",
        "i": "varchar(5) NOT NULL",
        "j": "jsonb NOT NULL DEFAULT '{\"a\": 1}'::jsonb",
        "k": "double precision NOT NULL DEFAULT random()",
    }
    fields = typed_store(store_factory, plain, types).fields().metadata
    assert {name: fields[name].default for name in types if fields[name].required} == {
        **{"a": 3, "b": "it's", "c": -1.5, "d": [], "e": False, "f": None, "g": "2026-01-31"},
        **{"i": None, "j": {"a": 1}, "k": None},
    }
    assert not fields["h"].required
    assert (fields["c"].precision, fields["c"].scale, fields["i"].length) == (10, 2, 5)
    assert fields["d"].items == Field(kind="text", declared="text")


def test_enumerations_and_domains_are_judged_by_what_they_are(store_factory: StoreFactory, plain: Plain) -> None:
    plain.execute("CREATE TYPE state AS ENUM ('new', 'old'); CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE < 100)")
    store = typed_store(store_factory, plain, {"state": "state", "states": "state[]", "price": "price"})
    spelling = Spelling([store.fields()])
    published = encode(spelling.row({"state": "old", "states": ["new"], "price": 0.1 + 0.2}))
    store.apply(with_texts([published]), ())
    assert exact(store.fetch(["r0"]).metadata[0]) == exact(published)
    for wrong in ({"state": "gone"}, {"states": ["gone"]}, {"price": "cheap"}):
        with pytest.raises(InvalidRecord):
            spelling.row(wrong)


def test_an_omitted_column_with_a_constant_default_is_stored_with_it(store_factory: StoreFactory, plain: Plain) -> None:
    store = typed_store(store_factory, plain, {"stock": "integer NOT NULL DEFAULT 3", "title": "text"})
    row = Spelling([store.fields()]).row({"title": "A thing"})
    store.apply(with_texts([encode(row)]), ())
    assert json.loads(store.fetch(["r0"]).metadata[0]) == {"stock": 3, "title": "A thing"}


@pytest.mark.parametrize("column", ["jsonb", "json"])
def test_every_number_of_a_json_column_comes_back(store_factory: StoreFactory, plain: Plain, column: str) -> None:
    plain.execute(f"CREATE TABLE items (id text PRIMARY KEY, v vector({DIMENSION}), m {column})".encode())
    store = store_factory.open(collection(), Placement(table="items", vector="v", metadata="m"))
    store.create(complete=True)
    numbers = [1e23, 1e16, 2**64, 10**30, 0.1, 5e-324, 1.7e308, -0.0, 12345678901234567890]
    text = encode(Spelling([store.fields()]).row({"n": numbers}))
    store.apply(with_texts([text]), ())
    (found,) = store.fetch(["r0"]).metadata
    assert json.loads(found) == json.loads(text) == {"n": numbers}
    assert [type(number) for number in json.loads(found)["n"]] == [type(number) for number in numbers]
