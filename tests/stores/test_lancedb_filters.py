"""Filters on Lance against Python's own idea of equality, over JSON text and over typed columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import DIMENSION, batch_of, collection
from vecferry.schemas.collection import Placement
from vecferry.schemas.filters import Scalar, parse_filter
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

HARD: list[Scalar] = [
    *(None, True, False, 0, 1, -1, 1.0, -0.0, 0.1, 1e22, 10**22, 1e-7, 1.5e300, 2**53, 2**53 + 1, float(2**53)),
    *(
        2**63,
        2**64 - 1,
        -(2**63),
        1e19,
        "",
        "1",
        "1.0",
        "true",
        "null",
        "NaN",
        "it's",
        'say "hi"',
        "a\\b",
        "é😀",
        "%",
        "_",
    ),
    *("tab\tline\nnul\x00bell\x07esc\x1bdel\x7f\u2028", "[1]", "{}", "1e5", "x.e"),
]
KEYS = ["k", "a.b", 'quo"te', "it's", "", "$", "back\\slash", "new\nline", "0", "[0]", "é😀", "`tick`"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = st.one_of(
    st.sampled_from(HARD), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(KEYS) | TEXT, SCALARS | st.sampled_from([[1], ["1"], {"a": 1}, []]), max_size=4
)
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def search_ids(store: Store, spec: Mapping[str, object]) -> set[str]:
    hits = store.search(np.ones(DIMENSION, np.float32), 1_000, parse_filter(spec), 60.0)
    return {hit.id for hit in hits}


def equal(stored: object, wanted: Scalar) -> bool:
    if isinstance(stored, (list, dict)):
        return False
    return isinstance(stored, bool) == isinstance(wanted, bool) and stored == wanted


def fill(store: Store, documents: list[dict[str, object]]) -> None:
    vectors = np.random.default_rng(0).random((len(documents), DIMENSION), dtype=np.float32)
    store.apply(batch_of([f"d{i}" for i in range(len(documents))], vectors, documents), [])


@pytest.fixture
def hard(tmp_path: Path) -> tuple[Store, list[dict[str, object]]]:
    documents: list[dict[str, object]] = [
        {key: value} for key in KEYS for value in ([*HARD] if key == "k" else [1, "1"])
    ]
    documents += [{}, {"k": [1]}, {"k": {"k": 1}}]
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), Placement(table="hard"))
    store.create(complete=False)
    fill(store, documents)
    return store, documents


@pytest.mark.parametrize("key", KEYS)
def test_hard_keys(hard: tuple[Store, list[dict[str, object]]], key: str) -> None:
    store, documents = hard
    wanted = {f"d{i}" for i, document in enumerate(documents) if equal(document.get(key), 1)}
    assert wanted
    assert search_ids(store, {key: 1}) == wanted


@pytest.mark.parametrize("value", HARD, ids=repr)
def test_hard_values(hard: tuple[Store, list[dict[str, object]]], value: Scalar) -> None:
    store, documents = hard
    wanted = {f"d{i}" for i, document in enumerate(documents) if equal(document.get("k"), value)}
    assert wanted
    assert search_ids(store, {"k": value}) == wanted


def test_conditions_are_a_conjunction_of_alternatives(hard: tuple[Store, list[dict[str, object]]]) -> None:
    store, documents = hard
    wanted = {f"d{i}" for i, doc in enumerate(documents) if doc.get("k") in ("1", "true") and "a.b" not in doc}
    assert search_ids(store, {"k": {"$in": ["1", "true"]}, "a.b": None}) == wanted
    assert search_ids(store, {"k": "1", "a.b": 1}) == set()


@SLOW
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=12), data=st.data())
def test_any_filter_over_any_documents(tmp_path: Path, documents: list[dict[str, object]], data: st.DataObject) -> None:
    name = f"t{len(list(tmp_path.iterdir())) if tmp_path.exists() else 0}"
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), Placement(table=name))
    store.create(complete=False)
    fill(store, documents)
    held = [(key, value) for document in documents for key, value in document.items()]
    scalars = [(k, v) for k, v in held if not isinstance(v, (list, dict))]
    pairs = st.tuples(st.sampled_from(KEYS), SCALARS)
    for _ in range(6):
        key, value = data.draw(st.sampled_from(scalars) | pairs if scalars else pairs)
        wanted = {f"d{i}" for i, document in enumerate(documents) if equal(document.get(key), value)}
        assert search_ids(store, {key: value}) == wanted, json.dumps([key, value])
    store.close()


def test_typed_columns(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"title": "a", "rank": 1, "price": 0.5, "new": True},
        {"title": "it's", "rank": 0, "price": -0.0, "new": False},
        {"title": "1"},
    ]
    schema = {"title": pa.string(), "rank": pa.int32(), "price": pa.float64(), "new": pa.bool_()}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in schema.items()}
    vectors = pa.FixedSizeListArray.from_arrays(np.ones(len(rows) * DIMENSION, np.float32), DIMENSION)
    table = pa.table({"id": [f"d{i}" for i in range(len(rows))], "vector": vectors, **columns})
    lancedb.connect(tmp_path).create_table("typed", table)
    store = open_store(
        Options.model_validate({"uri": str(tmp_path)}), collection(), Placement(table="typed", metadata=tuple(schema))
    )
    store.create(complete=True)
    fill(store, [{"title": "new", "rank": 7}])  # d0 again
    rows[0] = {"title": "new", "rank": 7}
    for key in [*schema, "absent"]:
        for value in [None, True, False, 0, 1, 1.0, 7, 0.5, 0.0, "it's", "new", "1", 2**70]:
            wanted = {f"d{i}" for i, row in enumerate(rows) if equal(row.get(key), value)}
            assert search_ids(store, {key: value}) == wanted, (key, value)
    assert [json.loads(text) for text in store.export(None, 9).rows.metadata] == rows
