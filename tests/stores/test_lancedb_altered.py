"""A Lance table that somebody alters under a worker: it stops with one line, loses nothing, and goes on after the undo.

What every store must do is in ``test_store_contract_altered.py``; this is what only Lance can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from lancedb.table import LanceTable
from store_data import DIMENSION, PLACEMENT, at, batch, collection, contents
from vecferry.errors import Refused
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Outcome
from vecferry.schemas.collection import Placement
from vecferry.stores.lancedb.store import LanceStore

TYPED = Placement(table="items", metadata=("rank", "price"))
SCHEMA = pa.schema(
    [
        *(pa.field("id", pa.string()), pa.field("vector", pa.list_(pa.float32(), DIMENSION))),
        *(pa.field("rank", pa.int64()), pa.field("price", pa.float64()), pa.field("stock", pa.int32())),
    ]
)
EVENT = {"rank": 2**40, "price": 0.1}
MARKS = [LiveMark(partition=0, next_offset=9)]
Change = Callable[[LanceTable], object]


def alter(**change: object) -> Change:
    return lambda table: table.alter_columns(change)  # type: ignore[arg-type]


ALTERED: dict[str, tuple[str, Change, Change]] = {
    "a column that is not null is added": (
        "note",
        lambda table: table.add_columns({"note": "'x'"}),
        lambda table: table.drop_columns(["note"]),
    ),
    "a mapped column is dropped": (
        "rank",
        lambda table: table.drop_columns(["rank"]),
        lambda table: table.add_columns([pa.field("rank", pa.int64())]),
    ),
    "a mapped column is cast to fewer bits": (
        "rank",
        alter(path="rank", data_type=pa.int16()),
        alter(path="rank", data_type=pa.int64()),
    ),
    "a mapped column is cast to what would round": (
        "price",
        alter(path="price", data_type=pa.float32()),
        alter(path="price", data_type=pa.float64()),
    ),
    "the id is renamed": ("'id'", alter(path="id", rename="key"), alter(path="key", rename="id")),
    "the vector is dropped": (
        "vector",
        lambda table: table.drop_columns(["vector"]),
        lambda table: table.add_columns([SCHEMA.field("vector")]),
    ),
    "the vector is cast to what would round": (
        "vector",
        alter(path="vector", data_type=pa.list_(pa.float16(), DIMENSION)),
        alter(path="vector", data_type=pa.list_(pa.float32(), DIMENSION)),
    ),
}


def table_in(directory: Path, placement: Placement) -> LanceTable:
    return lancedb.connect(directory).open_table(placement.table)


def event(id_: str, offset: int, metadata: Mapping[str, object]) -> EventBatch:
    return batch([(Op.UPSERT, id_, at(offset), metadata)])


@pytest.fixture
def typed(tmp_path: Path) -> LanceStore:
    lancedb.connect(tmp_path).create_table(TYPED.table, schema=SCHEMA)
    made = LanceStore(str(tmp_path), collection(), TYPED)
    made.create(complete=True)
    assert made.create(complete=True) == ()
    made.apply(event("first", 1, {"rank": 1, "price": 0.5}), ())
    return made


@pytest.mark.parametrize("how", ALTERED)
def test_a_worker_stops_with_one_line_and_goes_on_after_the_undo(tmp_path: Path, typed: LanceStore, how: str) -> None:
    column, change, undo = ALTERED[how]
    table = table_in(tmp_path, TYPED)
    change(table)
    restarted = LanceStore(str(tmp_path), collection(), TYPED)
    for handle in (typed, restarted, typed):
        with pytest.raises(Refused, match=column) as refused:
            handle.apply(event("a", 3, EVENT), MARKS)
        assert len(str(refused.value).splitlines()) == 1
    undo(table)
    assert typed.applied().live[0] == 0
    assert typed.apply(event("a", 3, EVENT), MARKS).tolist() == [Outcome.APPLIED]
    assert restarted.apply(event("a", 3, EVENT), MARKS).tolist() == [Outcome.DUPLICATE]
    assert contents(restarted.fetch(["a"]))["a"].metadata == EVENT


@pytest.mark.parametrize("name", ["vecferry_position", "vecferry_deleted", "vecferry_json"])
def test_a_table_that_lost_a_column_of_vecferry_is_not_written(tmp_path: Path, name: str) -> None:
    store = LanceStore(str(tmp_path), collection(), PLACEMENT)
    store.create(complete=False)
    assert store.create(complete=False) == ()
    table = table_in(tmp_path, PLACEMENT)
    field = table.schema.field(name)
    table.drop_columns([name])
    for handle in (store, LanceStore(str(tmp_path), collection(), PLACEMENT)):
        with pytest.raises(Refused, match=f"column '{name}' is gone"):
            handle.apply(event("a", 3, {}), MARKS)
    table.add_columns([field])
    assert store.apply(event("a", 3, {}), MARKS).tolist() == [Outcome.APPLIED]


def test_a_column_of_the_application_may_come_and_go(tmp_path: Path, typed: LanceStore) -> None:
    table = table_in(tmp_path, TYPED)
    table.add_columns([pa.field("note", pa.string())])
    assert typed.apply(event("a", 3, EVENT), ()).tolist() == [Outcome.APPLIED]
    table.checkout_latest()
    table.drop_columns(["note", "stock"])
    assert typed.apply(event("b", 4, EVENT), ()).tolist() == [Outcome.APPLIED]
    assert contents(typed.fetch(["b"]))["b"].metadata == EVENT


def test_a_table_that_vecferry_made_is_not_told_to_name_its_columns(tmp_path: Path) -> None:
    LanceStore(str(tmp_path), collection(), PLACEMENT).create(complete=False)
    other = Placement(table=PLACEMENT.table)
    (line,) = LanceStore(str(tmp_path), collection(), other).check()
    assert "name the table's own columns" not in line
    assert "the placement was changed: undo that" in line
