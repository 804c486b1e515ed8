"""Values in the typed columns of a Lance table: spelled as they come back, or refused by the publisher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from store_data import DIMENSION, at, batch, collection
from vecferry.errors import InvalidRecord
from vecferry.schemas.batch import EventBatch, Op
from vecferry.schemas.collection import Placement
from vecferry.schemas.plain import encode
from vecferry.schemas.spelling import Spelling
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

TYPES = {
    **{"text": pa.string(), "small": pa.int8(), "count": pa.uint32(), "whole": pa.int64()},
    **{"single": pa.float32(), "double": pa.float64(), "yes": pa.bool_()},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fields = [pa.field("id", pa.string()), pa.field("vector", pa.list_(pa.float32(), DIMENSION))]
    schema = pa.schema([*fields, *(pa.field(name, type_) for name, type_ in TYPES.items())])
    lancedb.connect(tmp_path).create_table("t", schema=schema)
    store = open_store(
        Options.model_validate({"uri": str(tmp_path)}), collection(), Placement(table="t", metadata=tuple(TYPES))
    )
    store.create(complete=True)
    return store


def test_what_is_spelled_for_a_lance_table_comes_back_as_it_is(store: Store) -> None:
    spelling = Spelling([store.fields()])
    given: list[dict[str, Any]] = [
        {"text": "x", "small": np.int8(-128), "count": 2**32 - 1, "whole": "-9223372036854775808", "yes": np.True_},
        {"single": 0.1, "double": 1e23, "small": 3.0},
        {"single": np.float32(3.4e38), "double": "0.1", "whole": 2**63 - 1},
        {"double": 2**60, "single": -0.0},
    ]
    texts = [encode(spelling.row(row)) for row in given]
    events = batch((Op.UPSERT, f"r{i}", at(i), {}) for i in range(len(texts)))
    columns = {name: getattr(events, name) for name in ("ids", "ops", "partitions", "positions", "vectors")}
    store.apply(EventBatch(**columns, metadata=texts), ())
    rows = store.fetch([f"r{i}" for i in range(len(texts))])
    found = dict(zip(rows.ids, rows.metadata, strict=True))
    assert [json.loads(found[f"r{i}"]) for i in range(len(texts))] == [json.loads(text) for text in texts]
    assert json.loads(texts[1]) == {"single": 0.10000000149011612, "double": 1e23, "small": 3}


@pytest.mark.parametrize(
    "row",
    [{"small": 128}, {"count": -1}, {"whole": 2**63}, {"single": 1e39}, {"yes": 1}, {"text": 5}, {"whole": True}],
    ids=str,
)
def test_what_a_lance_column_cannot_hold_is_refused_at_the_call(store: Store, row: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match=f"metadata.{next(iter(row))}"):
        Spelling([store.fields()]).row(row)
