"""Searches of pgvector that an index alone would answer with too little, or with no score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from store_data import DIMENSION, batch_of, collection
from store_factory import StoreFactory, open_given
from vecferry.schemas.collection import Placement
from vecferry.schemas.filters import parse_filter
from vecferry.stores.base import Store

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

ROWS, FAR = 3_000, 2_400
K = 10
TABLE = Placement(table="items")
QUERY = np.eye(1, DIMENSION, dtype=np.float32)[0]

# The planner is to take the index wherever it can, and the index is to give up early.
LOW = (
    "-cenable_seqscan=off -cenable_sort=off -cenable_bitmapscan=off "
    "-chnsw.max_scan_tuples=50 -chnsw.scan_mem_multiplier=1 -civfflat.max_probes=1"
)
INDEXES = {
    "hnsw": "CREATE INDEX ON items USING hnsw (vector vector_l2_ops)",
    "ivfflat": "CREATE INDEX ON items USING ivfflat (vector vector_l2_ops) WITH (lists = 20)",
}


def scattered() -> NDArray[np.float32]:
    """Row n lies about n away from the query."""
    vectors = np.random.default_rng(5).uniform(-0.5, 0.5, (ROWS, DIMENSION)).astype(np.float32)
    vectors[:, 0] += np.arange(ROWS)
    return vectors


@pytest.fixture
def limited(store_factory: StoreFactory) -> Iterator[Store]:
    """A table of ``ROWS`` rows, the far fifth of them marked, whose connection has low limits."""
    of = collection(metric="l2")
    marked: list[dict[str, object]] = [{"far": i >= FAR, "n": i} for i in range(ROWS)]
    store_factory(of, TABLE).apply(batch_of([f"n{i}" for i in range(ROWS)], scattered(), marked), ())
    url = f"{store_factory.options['url']}%20{quote(LOW)}"
    opened = open_given("pgvector", {"url": url}, of, TABLE)
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", INDEXES)
def test_a_filtered_search_finds_k_rows_where_the_index_gives_up_before_it_meets_them(
    store_factory: StoreFactory, limited: Store, kind: str
) -> None:
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        connection.execute(INDEXES[kind].encode())
        connection.execute("ANALYZE items")
    nearest = FAR + np.argsort(np.linalg.norm(scattered()[FAR:] - QUERY, axis=1))[:K]
    hits = limited.search(QUERY, K, parse_filter({"far": True}), 30)
    assert [hit.id for hit in hits] == [f"n{i}" for i in nearest]
    assert len(limited.search(QUERY, ROWS, (), 30)) == ROWS
    assert [hit.id for hit in limited.search(QUERY, K, parse_filter({"n": 2_999}), 30)] == ["n2999"]


@pytest.mark.parametrize("with_index", [False, True], ids=["exact", "index"])
def test_a_zero_vector_has_no_cosine_and_is_left_out(store_factory: StoreFactory, with_index: bool) -> None:
    store = store_factory(collection(), TABLE)
    vectors = np.vstack([np.zeros((3, DIMENSION), np.float32), np.eye(DIMENSION, dtype=np.float32)])
    store.apply(batch_of([f"n{i}" for i in range(len(vectors))], vectors, [{}] * len(vectors)), ())
    if with_index:
        store.build_index()
    hits = store.search(QUERY, 50, (), 30)
    assert {hit.id for hit in hits} == {f"n{i}" for i in range(3, len(vectors))}
    assert not any(math.isnan(hit.score) for hit in hits)
    assert [hit.id for hit in store.search(QUERY, 1, (), 30)] == ["n3"]
    assert len(store.fetch(["n0"])) == 1
