"""A value from the call to the store and back: spelled, refused at the call, or told to whoever waits for it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import psycopg
import pytest
import vecferry
from ferry import DIMENSION, ferry
from vecferry.errors import DeadLettered, InvalidRecord
from waiting import wait_until

pytestmark = pytest.mark.server

VECTOR = np.arange(DIMENSION, dtype=np.float32)
AS_IT_COMES_BACK = {"title": "A", "price": 0.3, "moment": "2026-01-01T10:00:00+00:00", "stock": 3, "state": "new"}


def test_what_only_the_store_can_judge_is_judged_at_the_call_and_the_rest_is_told_to_whoever_waits(
    tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    with ferry(tmp_path, kafka_bootstrap, postgres_url, rows=5) as moved:
        with psycopg.connect(moved.url, autocommit=True) as connection:
            connection.execute(
                "ALTER TABLE products ADD price numeric(10,2), ADD moment timestamptz, "
                "ADD state text NOT NULL DEFAULT 'new', ADD CHECK (price < 100)"
            )
        columns = '["title", "section", "stock", "price", "moment", "state"]'
        moved.config.write_text(moved.config.read_text().replace('["title", "section", "stock"]', columns))
        moved.must("enrol", "products")
        moved.spawn("worker", "--store", "old")
        wait_until(lambda: "assigned" in moved.log(), 60, "the worker to have its partitions")
        with vecferry.open(moved.config) as pipeline:
            publisher, reader = pipeline.publisher("products"), pipeline.reader("products")
            for number, values in enumerate(
                [
                    {"price": 0.1 + 0.2, "moment": "2026-01-01T10:00:00Z", "stock": 3.0},
                    {"price": Decimal("0.30"), "moment": datetime(2026, 1, 1, 10, tzinfo=UTC), "stock": np.int64(3)},
                    {"price": "0.3", "moment": "2026-01-01 12:00:00+02", "stock": "3", "state": "new"},
                ]
            ):
                token = publisher.upsert(f"id-{number}", VECTOR, {"title": "A", **values}).result(timeout=30)
                (row,) = reader.get([f"id-{number}"], after=token, timeout=30)
                assert row.metadata == AS_IT_COMES_BACK
            for field, wrong in [("moment", "tomorrow"), ("price", 1e9), ("stock", True), ("title", None)]:
                with pytest.raises(InvalidRecord) as refused:
                    publisher.upsert("id-0", VECTOR, {"title": "A", field: wrong})
                assert refused.value.field == f"metadata.{field}"

            lost = publisher.upsert("id-0", VECTOR, {"title": "A", "price": 500}).result(timeout=30)
            session = vecferry.Session()
            session.observe(lost)
            with pytest.raises(DeadLettered, match="check constraint") as told:
                reader.get(["id-0"], after=lost, timeout=30)
            assert told.value.id == "id-0"
            with pytest.raises(DeadLettered):
                reader.search(VECTOR, 1, session=session, timeout=30)
            assert moved.run("dlq", "redrive", "products") == 1
            assert "publish the right state of 'id-0'" in moved.log()
            token = publisher.upsert("id-0", VECTOR, {"title": "A", "price": 5}).result(timeout=30)
            (row,) = reader.get(["id-0"], after=[lost, token], session=session, timeout=30)
            assert row.metadata["price"] == 5
            moved.must("dlq", "redrive", "products")
            assert "stale" in moved.log()
