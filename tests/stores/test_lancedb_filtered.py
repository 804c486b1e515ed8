"""What filters see of a row is read beside the row, so that a verification can compare it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from store_data import PLACEMENT, at, batch, collection
from store_factory import open_given
from vecferry.compare.content import suspects
from vecferry.compare.uncarried import Cause, uncarried
from vecferry.schemas.batch import LiveMark, Op, Rows
from vecferry.schemas.collection import Placement
from vecferry.stores.base import Store

JSON = "vecferry_json"
ROWS = {"a": {"n": 2**63, "s": 'é "quoted"'}, "b": {"n": 1e300, "o": {"l": [1, None, True]}}, "c": {"n": 3.0}, "d": {}}


def filled(store: Store) -> None:
    store.create(complete=True)
    events = [(Op.UPSERT, id_, at(n), metadata) for n, (id_, metadata) in enumerate(ROWS.items())]
    store.apply(batch(events), [LiveMark(partition=0, next_offset=4)])


def everything(store: Store) -> Rows:
    return store.export(None, 100).rows


def test_what_filters_see_comes_with_the_row_and_equals_it(tmp_path: Path) -> None:
    with closing(open_given("lancedb", {"uri": str(tmp_path)}, collection(), PLACEMENT)) as store:
        filled(store)
        store.apply(batch([(Op.DELETE, "d", at(9))]), [LiveMark(partition=0, next_offset=10)])
        exported, fetched = everything(store), store.fetch(list(ROWS))
        assert exported.filtered is not None
        assert fetched.filtered is not None
        assert dict(zip(fetched.ids, fetched.filtered, strict=True))["d"] == b""
        assert suspects(exported, fetched, 0.0) == []


def test_a_filter_column_that_says_something_else_is_suspected_on_either_side(tmp_path: Path) -> None:
    with closing(open_given("lancedb", {"uri": str(tmp_path)}, collection(), PLACEMENT)) as store:
        filled(store)
        before = everything(store)
        table = lancedb.connect(str(tmp_path)).open_table(PLACEMENT.table)
        field = pa.field(JSON, pa.json_(pa.utf8()))
        wrong = pa.ExtensionArray.from_storage(field.type, pa.array(['{"n":4}', None], pa.string()))
        schema = pa.schema([table.schema.field(PLACEMENT.id), field])
        rows = pa.Table.from_arrays([pa.array(["c", "b"]), wrong], schema=schema)
        table.merge_insert(PLACEMENT.id).when_matched_update_all().execute(rows)
        after = everything(store)
        assert after.metadata == before.metadata
        assert suspects(before, store.fetch(list(ROWS)), 0.0) == ["b", "c"]
        assert suspects(after, before, 0.0) == ["b", "c"]


def test_a_row_without_a_vector_and_a_column_with_nan_are_found_and_not_read_as_something_else(tmp_path: Path) -> None:
    placement = Placement(table="products", id="sku", vector="embedding", metadata=("title", "price"))
    vectors = [np.ones(8).tolist(), None, np.zeros(8).tolist()]
    table = pa.table(
        {
            "sku": ["a", "b", "c"],
            "embedding": pa.array(vectors, pa.list_(pa.float32(), 8)),
            "title": ["x", "y", "z"],
            "price": pa.array([float("nan"), 1.0, 2.0]),
        }
    )
    lancedb.connect(str(tmp_path)).create_table("products", table)
    with closing(open_given("lancedb", {"uri": str(tmp_path)}, collection(), placement)) as store:
        (chunk,) = store.plan_chunks(100)
        for rows in (*store.scan(chunk, 10), everything(store)):
            found = uncarried(rows, collection())
            assert {rows.ids[row]: obstacle.cause for row, obstacle in found.items()} == {
                "a": Cause.NOT_A_NUMBER,
                "b": Cause.NO_VECTOR,
                "c": Cause.NO_DIRECTION,
            }
            assert json.loads(rows.metadata[rows.ids.index("c")]) == {"title": "z", "price": 2.0}


def test_a_table_with_a_key_twice_is_enrolled_and_the_row_is_found_before_a_copy(tmp_path: Path) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(np.ones(16, np.float32), 8)
    texts = ["{}", '{"a":{"b":1,"b":2}}']
    lancedb.connect(str(tmp_path)).create_table("products", pa.table({"id": ["x", "y"], "vector": vectors, "t": texts}))
    placement = Placement(table="products", metadata="t")
    with closing(open_given("lancedb", {"uri": str(tmp_path)}, collection(), placement)) as store:
        assert store.check() == ()
        store.create(complete=True)
        assert store.create(complete=True) == ()
        rows = everything(store)
        assert rows.metadata == [text.encode() for text in texts]
        assert {rows.ids[row]: found.cause for row, found in uncarried(rows, collection()).items()} == {
            "y": Cause.KEY_TWICE
        }
        assert suspects(rows, store.fetch(["x", "y"]), 0.0) == []
