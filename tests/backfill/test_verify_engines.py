"""Verification of a copy between the real engines: typed columns on one side, JSON text on the other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import lancedb
import numpy as np
import psycopg
import pyarrow.compute as pc
import pytest
from store_factory import open_given
from vecferry.backfill.verification import Verifier, VerifyReport
from vecferry.clock import SYSTEM_CLOCK
from vecferry.compare.verdict import Fault
from vecferry.local.postgres import create_database
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.collection import Collection, Placement, Space
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import encode_position
from vecferry.stores.base import Store

pytestmark = pytest.mark.server

ROWS = 600
DIMENSION = 8
COLLECTION = Collection(
    name="products",
    space=Space(model="m", version="1", dimension=DIMENSION, metric="cosine"),
    partitions=2,
)
ENDS = (100, 100)


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """A database with an application's table: typed columns, nulls, a number beyond 2^53, ids with quotes."""
    url = create_database(postgres_url, f"v{uuid.uuid4().hex[:10]}")
    vectors = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            "CREATE TABLE products (sku text PRIMARY KEY, title text, price double precision, stock bigint, "
            f"sold boolean, embedding vector({DIMENSION}) NOT NULL)"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO products VALUES (%s, %s, %s, %s, %s, %s::real[]::vector)",
                [
                    (f"it's «{n}»", None if n % 7 == 0 else f"é{n}", n / 3, 2**53 + n, n % 2 == 0, vector.tolist())
                    for n, vector in enumerate(vectors)
                ],
            )
    return url


@pytest.fixture
def stores(postgres: str, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """The table enrolled, copied, and then changed by the same events on both sides."""
    placement = Placement(table="products", id="sku", vector="embedding", metadata=("title", "price", "stock", "sold"))
    with (
        closing(open_given("pgvector", {"url": postgres}, COLLECTION, placement)) as source,
        closing(open_given("lancedb", {"uri": str(tmp_path)}, COLLECTION, Placement(table="products"))) as target,
    ):
        source.create(complete=True)
        target.create(complete=False)
        (everything,) = source.plan_chunks(1_000_000)
        for rows in source.scan(everything, 250):
            ops = np.full(len(rows), Op.SNAPSHOT, np.int8)
            partitions = partitions_of(rows.ids, COLLECTION.partitions)
            target.apply(
                EventBatch(
                    ids=rows.ids,
                    ops=ops,
                    partitions=partitions,
                    positions=rows.positions,
                    vectors=rows.vectors,
                    metadata=rows.metadata,
                ),
                (),
            )
        for store in (source, target):
            store.apply(changes(), [LiveMark(partition=partition, next_offset=100) for partition in (0, 1)])
        yield source, target


def changes() -> EventBatch:
    """Thirty ids: a third is deleted, a third rewritten, a third is new."""
    ids = [f"it's «{n}»" for n in range(100, 120)] + [f"new \U0001f680 {n}" for n in range(10)]
    ops = np.array([Op.DELETE] * 10 + [Op.UPSERT] * 20, np.int8)
    document = json.dumps({"title": None, "price": 3, "stock": 2**53 + 1, "sold": True}).encode()
    return EventBatch(
        ids=ids,
        ops=ops,
        partitions=partitions_of(ids, COLLECTION.partitions),
        positions=np.array([encode_position(1, offset) for offset in range(30)], np.int64),
        vectors=np.where(ops[:, None] == Op.DELETE, 0, np.arange(1, DIMENSION + 1)).astype(np.float32),
        metadata=[b"" if op == Op.DELETE else document for op in ops],
    )


def verify(stores: tuple[Store, Store]) -> VerifyReport:
    verifier = Verifier(
        source=stores[0],
        target=stores[1],
        collection=COLLECTION,
        live_ends=lambda: ENDS,
        sample=None,
        seed=0,
        tolerance=1e-6,
        on_progress=lambda progress: None,
        clock=SYSTEM_CLOCK,
        barrier_timeout_s=20.0,
    )
    verifier._page_rows = 100
    return verifier.run()


def test_a_faithful_copy_is_clean(stores: tuple[Store, Store]) -> None:
    report = verify(stores)
    assert report.to_record("old", "new", 0.0).clean, report.examples
    assert report.checked == ROWS


def test_planted_faults_are_named(stores: tuple[Store, Store], postgres: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("UPDATE products SET stock = stock + 1 WHERE sku = %s", ["it's «200»"])
        connection.execute("DELETE FROM products WHERE sku = %s", ["it's «201»"])
        connection.execute("UPDATE products SET sku = 'other' WHERE sku = %s", ["it's «202»"])
    table = lancedb.connect(tmp_path).open_table("products")
    table.delete("id = 'it''s «300»'")
    table.update(where="id = 'it''s «301»'", values={"vector": [1.0] * DIMENSION})
    report = verify(stores)
    assert {difference.id: difference.fault for difference in report.examples} == {
        "it's «200»": Fault.CORRUPT,
        "it's «201»": Fault.EXTRA,
        "it's «202»": Fault.EXTRA,
        "other": Fault.MISSING,
        "it's «300»": Fault.MISSING,
        "it's «301»": Fault.CORRUPT,
    }
    assert (report.missing, report.extra, report.stale, report.corrupt) == (2, 2, 0, 2)
    reasons = {difference.id: difference.reason for difference in report.examples}
    assert reasons["it's «200»"] == "metadata differs: stock"
    assert reasons["it's «301»"].startswith("vector differs")


def test_a_row_that_was_added_beside_its_like_is_named(stores: tuple[Store, Store], tmp_path: Path) -> None:
    table = lancedb.connect(tmp_path).open_table("products")
    table.add(table.to_arrow().filter(pc.field("id") == "it's «400»"))
    report = verify(stores)
    (difference,) = report.examples
    assert (difference.id, difference.fault) == ("it's «400»", Fault.CORRUPT)
    assert difference.reason == "held twice by the target"
    assert verify(stores[::-1]).examples[0].reason == "held twice by the source"
