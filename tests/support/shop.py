"""An existing shop: the table that it has, and a web server that preloads its application.

The module is both: imported by the test it makes the shop, imported by gunicorn it is the shop's application.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import psycopg
import vecferry
from ferry import DIMENSION, Ferry, ferry

ROWS = 400
WITHOUT_VECTOR = 10  # of every so many rows, one has no vector
COLUMNS = ["title", "price", "added", "tags", "state"]
_TABLE = f"""
CREATE EXTENSION vector;
CREATE TYPE state AS ENUM ('new', 'on sale', 'sold out');
CREATE TABLE articles (
    id serial PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL,
    added timestamptz NOT NULL DEFAULT now(),
    tags text[],
    state state NOT NULL DEFAULT 'new',
    updated_at timestamptz,
    embedding vector({DIMENSION})
);
CREATE TABLE order_lines (line bigserial PRIMARY KEY, article integer NOT NULL REFERENCES articles, count integer);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON articles FOR EACH ROW EXECUTE FUNCTION touch();
"""


class Shop(Ferry):
    """A Ferry whose table is the shop's ``articles``."""

    def load(self, rows: int) -> None:
        numbers = np.random.default_rng(7)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_TABLE.encode())
            for number in range(1, rows + 1):
                vector = None if number % WITHOUT_VECTOR == 0 else numbers.random(DIMENSION, np.float32).tolist()
                connection.execute(
                    "INSERT INTO articles (title, price, tags, state, embedding) "
                    "VALUES (%s, %s, %s, 'on sale', %s::real[]::vector)",
                    (f"Thing {number}", Decimal(number) / 4, ["a", 'with "quotes"'], vector),
                )
            connection.execute("INSERT INTO order_lines (article, count) SELECT id, 1 FROM articles WHERE id % 7 = 0")

    def rows_without_vector(self) -> int:
        with psycopg.connect(self.url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM articles WHERE embedding IS NULL").fetchone() or (-1,)
        return int(count)


@contextmanager
def shop(directory: Path, kafka: str, postgres: str) -> Iterator[Shop]:
    """The shop with its configuration; its processes are ended on leaving."""
    with ferry(directory, kafka, postgres, rows=ROWS, kind=Shop) as made:
        text = made.config.read_text()
        text = text.replace('table = "products"\nid = "sku"', 'table = "articles"\nid = "id"')
        text = text.replace('["title", "section", "stock"]', json.dumps(COLUMNS))
        made.config.write_text(text.replace('metric = "l2"', 'metric = "l2"\nid_type = "bigint"'))
        yield made


def vector_of(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The vector that the application writes with the price ``number``."""
    return np.full(DIMENSION, number % 1000, np.float32)


_preloaded: dict[str, Any] = {}
_own: dict[str, Any] = {}


def preload() -> None:
    """As a shop that opens on import does: in the master process, which its workers are forked from."""
    _preloaded["pipeline"] = vecferry.open(os.environ["VECFERRY_CONFIG"])
    _preloaded["reader"] = _preloaded["pipeline"].reader("products")


def opened() -> dict[str, Any]:
    """What this worker opened for itself, when it was first asked."""
    if not _own:
        pipeline = vecferry.open(os.environ["VECFERRY_CONFIG"])
        _own.update(publisher=pipeline.publisher("products"), reader=pipeline.reader("products"), pipeline=pipeline)
    return _own


def inherited() -> dict[str, Any]:
    """What a reader of the master says in a worker."""
    try:
        return {"rows": len(_preloaded["reader"].get(["1"]))}
    except vecferry.VecferryError as error:
        return {"error": str(error)}


def write(id_: str, number: int) -> dict[str, Any]:
    """Publish values as Python has them; the token."""
    values = {
        "title": f"Thing {number}",
        "price": Decimal(number) / 100,
        "added": datetime.now(UTC),
        "tags": ["new", f"n{number}"],
        "state": "sold out" if number % 2 else "new",
    }
    token = opened()["publisher"].upsert(id_, vector_of(number), values).result(timeout=60)
    return {"token": str(token)}


def delete(id_: str) -> dict[str, Any]:
    return {"token": str(opened()["publisher"].delete(id_).result(timeout=60))}


def read(id_: str, token: str | None) -> dict[str, Any]:
    """What ``get`` and a filtered ``search`` find of ``id_``: pairs of id and title."""
    reader = opened()["reader"]
    after = None if token is None else vecferry.WriteToken.parse(token)
    rows = reader.get([id_], after=after, timeout=60)
    hits = []
    for row in rows:
        found = reader.search(row.vector, k=1, filter={"title": row.metadata["title"]}, after=after, timeout=60)
        hits += [[hit.id, hit.metadata["title"]] for hit in found]
    return {"rows": [[row.id, row.metadata["title"]] for row in rows], "hits": hits}


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The WSGI application: ``/inherited``, ``/write?id&number``, ``/delete?id``, ``/read?id[&token]``, as JSON."""
    given = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    match environ["PATH_INFO"]:
        case "/inherited":
            answer = inherited()
        case "/write":
            answer = write(given["id"], int(given["number"]))
        case "/delete":
            answer = delete(given["id"])
        case _:
            answer = read(given["id"], given.get("token"))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), **answer}).encode()]


def worker_exit(server: object, worker: object) -> None:
    """Of gunicorn, at the end of a worker; gunicorn runs its configuration file as another module."""
    import shop

    if shop._own:
        shop._own["pipeline"].close()


if os.environ.get("SHOP_PRELOADS") and __name__ == "shop":
    preload()
