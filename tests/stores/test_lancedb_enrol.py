"""Enrolling an application's Lance table: what is refused, and what the application finds afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import Bitmap, BTree
from store_data import DIMENSION, at, batch, collection, contents
from vecferry.errors import Refused, Rejected
from vecferry.schemas.batch import Op, Outcome
from vecferry.schemas.collection import Placement
from vecferry.schemas.filters import parse_filter
from vecferry.schemas.position import base_position
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

N = 6
VECTORS = np.random.default_rng(3).standard_normal((N, DIMENSION)).astype(np.float32)


def vectors(kind: pa.DataType | None = None, dimension: int = DIMENSION) -> pa.Array:
    values = pa.array(np.resize(VECTORS, N * dimension)).cast(kind or pa.float32())
    return pa.FixedSizeListArray.from_arrays(values, dimension)


GOOD = {
    "id": pa.array([f"id-{i}" for i in range(N)]),
    "vector": vectors(),
    "metadata": pa.array([json.dumps({"section": f"s{i % 2}"}) if i else None for i in range(N)]),
}


def application(directory: Path, **columns: object) -> lancedb.table.Table:
    return lancedb.connect(directory).create_table("t", pa.table({**GOOD, **columns}), on_bad_vectors="null")


def opened(directory: Path, placement: Placement | None = None) -> Store:
    return open_store(Options.model_validate({"uri": str(directory)}), collection(), placement or Placement(table="t"))


REFUSED = {
    "16 dimensions": {"vector": vectors(dimension=16)},
    "not fixed_size_list<float>": {"vector": vectors(pa.float16())},
    "not string": {"id": pa.array(range(N))},
    "appear more than once": {"id": pa.array(["a", "a", *"bcde"])},
    "have no id": {"id": pa.array([None, *"abcde"])},
    "contains NUL": {"id": pa.array(["a\x00b", *"cdefg"])},
    "have no vector": {"vector": pa.array([None, *VECTORS[1:].tolist()], pa.list_(pa.float32(), DIMENSION))},
    "no JSON object": {"metadata": pa.array(["[1]", "nonsense", *["{}"] * (N - 2)])},
    "nested deeper": {"metadata": pa.array(['{"a":' + "[" * 100_000 + "]" * 100_000 + "}", *["{}"] * (N - 1)])},
    "not text": {"metadata": pa.array(range(N))},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_with_the_remedy(tmp_path: Path, reason: str) -> None:
    application(tmp_path, **REFUSED[reason])
    store = opened(tmp_path)
    (line,) = store.check()
    assert reason in line
    assert "; " in line
    with pytest.raises(Refused, match=reason):
        store.create(complete=True)


def test_missing_columns_and_foreign_not_null_columns_are_refused(tmp_path: Path) -> None:
    application(tmp_path, stock=pa.array(range(N))).alter_columns({"path": "stock", "nullable": False})
    assert "alter_columns({'path': 'stock'" in opened(tmp_path).check()[0]
    assert "no column ['sku']" in opened(tmp_path, Placement(table="t", id="sku")).check()[0]


def test_typed_metadata_needs_its_table_first(tmp_path: Path) -> None:
    store = opened(tmp_path, Placement(table="t", metadata=("title",)))
    with pytest.raises(Refused, match="typed"):
        store.create(complete=False)


def test_enrolment_shows_its_steps_is_idempotent_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    table = application(tmp_path, stock=pa.array(range(N)))
    store = opened(tmp_path)
    shown = store.create(complete=True, dry_run=True)
    table.checkout_latest()
    assert table.schema.names == ["id", "vector", "metadata", "stock"]
    assert store.create(complete=True) == shown
    assert store.create(complete=True) == ()
    store.apply(batch([(Op.UPSERT, "id-1", at(0)), (Op.UPSERT, "new", at(1)), (Op.DELETE, "id-2", at(2))]), [])
    table.checkout_latest()
    held = {row["id"]: row["stock"] for row in table.search().where("vector IS NOT NULL").limit(99).to_list()}
    assert held == {"id-0": 0, "id-1": 1, "id-3": 3, "id-4": 4, "id-5": 5, "new": None}


def test_filters_and_null_metadata_of_enrolled_rows(tmp_path: Path) -> None:
    application(tmp_path)
    store = opened(tmp_path)
    store.create(complete=True)
    hits = store.search(VECTORS[0], 10, parse_filter({"section": "s1"}), 30.0)
    assert {hit.id for hit in hits} == {"id-1", "id-3", "id-5"}
    assert {hit.position for hit in hits} == {base_position(1)}
    assert {hit.id for hit in store.search(VECTORS[0], 10, parse_filter({"section": None}), 30.0)} == {"id-0"}
    assert contents(store.fetch(["id-0"]))["id-0"].metadata == {}


def test_a_row_that_the_application_adds_later_counts_as_base(tmp_path: Path) -> None:
    table = application(tmp_path)
    store = opened(tmp_path)
    store.create(complete=True)
    table.checkout_latest()
    schema = pa.schema([table.schema.field(name) for name in ("id", "vector", "metadata")])
    late = [pa.array(["late"]), vectors().slice(0, 1), pa.array(['{"section": "s9"}'])]
    table.add(pa.Table.from_arrays(late, schema=schema))
    assert contents(store.fetch(["late"]))["late"].position == base_position(1)
    store.create(complete=True)
    assert [hit.id for hit in store.search(VECTORS[0], 10, parse_filter({"section": "s9"}), 30.0)] == ["late"]
    assert store.apply(batch([(Op.UPSERT, "late", at(0))]), []).tolist() == [Outcome.APPLIED]
    assert store.count() == N + 1


def test_what_does_not_fit_typed_columns_is_rejected(tmp_path: Path) -> None:
    application(tmp_path, title=pa.array(["x"] * N), rank=pa.array(range(N), pa.int8()))
    store = opened(tmp_path, Placement(table="t", metadata=("title", "rank")))
    store.create(complete=True)
    for metadata in ({"other": 1}, {"title": 1}, {"rank": 1000}, {"rank": 1.5}, {"rank": True}):
        with pytest.raises(Rejected):
            store.apply(batch([(Op.UPSERT, "a", at(0), metadata)]), [])
    for text in (
        b"{oops}",
        b'{"rank":1,}',
        b'{"title":' + b"[" * 999 + b"]" * 999 + b"}",
        b'{"rank":' + b"[" * 9_999 + b"]" * 9_999 + b"}",
        b'{"title":"\\ud800"}',
        b"[1]",
    ):
        good = batch([(Op.UPSERT, "a", at(0), {})])
        with pytest.raises(Rejected):
            store.apply(replace(good, metadata=[text]), [])
    store.apply(batch([(Op.UPSERT, "a", at(0), {"rank": 3, "other": None}), (Op.DELETE, "id-1", at(1))]), [])
    assert contents(store.fetch(["a"]))["a"].metadata == {"rank": 3}
    assert store.count() == N


def test_broken_texts_cannot_pass_for_others_together(tmp_path: Path) -> None:
    application(tmp_path, title=pa.array(["x"] * N))
    store = opened(tmp_path, Placement(table="t", metadata=("title",)))
    store.create(complete=True)
    texts = [b'{"title":"}', b'{","title":"z"}', b'{"title":"y"},{}']  # joined by commas: three objects
    events = batch([(Op.UPSERT, id_, at(0), {}) for id_ in "abc"])
    with pytest.raises(Rejected, match="not JSON"):
        store.apply(replace(events, metadata=texts), [])
    assert store.count() == N


@pytest.mark.parametrize("metadata", ["metadata", ("section",)])
@pytest.mark.parametrize("index", [BTree(), Bitmap()])
def test_an_index_of_the_application_on_its_id_is_not_in_the_way(
    tmp_path: Path, index: BTree | Bitmap, metadata: str | tuple[str, ...]
) -> None:
    table = application(tmp_path, section=pa.array(["s"] * N))
    table.create_index("id", config=index)
    store = opened(tmp_path, Placement(table="t", metadata=metadata))
    store.create(complete=True)
    row = {"section": "new"}
    events = [(Op.UPSERT, "id-1", at(1), row), (Op.DELETE, "id-2", at(2)), (Op.UPSERT, "other", at(3), row)]
    assert store.apply(batch(events), ()).tolist() == [Outcome.APPLIED] * 3
    lancedb.connect(tmp_path).open_table("t").optimize()
    late = [(Op.UPSERT, "id-2", at(1), row), (Op.UPSERT, "other", at(4), row), (Op.UPSERT, "id-1", at(1), row)]
    assert store.apply(batch(late), ()).tolist() == [Outcome.STALE, Outcome.APPLIED, Outcome.DUPLICATE]
    held = {id_: state.position for id_, state in contents(store.fetch(["id-1", "id-2", "other"])).items()}
    assert held == {"id-1": at(1), "id-2": at(2), "other": at(4)}
    assert store.count() == N


@pytest.mark.parametrize("name", ["a.b", "a`b", 'a"b'])
@pytest.mark.parametrize("column", ["id", "vector", "metadata"])
def test_a_column_that_no_filter_can_name_is_refused(tmp_path: Path, column: str, name: str) -> None:
    store = opened(tmp_path, replace(Placement(table="t"), **{column: name}))
    with pytest.raises(Refused, match="use names without a dot or a quote"):
        store.create(complete=False)


@pytest.mark.parametrize("name", ["a b", "Ü", "SELECT", "it's"])
def test_any_other_column_name_works(tmp_path: Path, name: str) -> None:
    store = opened(tmp_path, Placement(table="t", id=name, vector=f"v{name}", metadata=f"m{name}"))
    store.create(complete=False)
    store.apply(batch([(Op.UPSERT, "a", at(0), {"k": 1}), (Op.UPSERT, "b", at(1))]), [])
    assert store.apply(batch([(Op.DELETE, "b", at(2))]), []).tolist() == [Outcome.APPLIED]
    assert store.fetch(["a"]).ids == store.export(None, 9).rows.ids == ["a"]
    assert [hit.id for hit in store.search(VECTORS[0], 9, parse_filter({"k": 1}), 30.0)] == ["a"]
