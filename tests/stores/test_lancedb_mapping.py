"""Batches as Arrow tables: every text in its own row, and vectors that nobody copies or looks at again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_data import DIMENSION, PLACEMENT, at, batch, batch_of, collection, contents, vector_for
from vecferry.errors import Rejected
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import Placement
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.mapping import (
    DELETED,
    JSON,
    POSITION,
    Layout,
    layout_of,
    ledger_rows,
    new_schema,
    to_arrow,
)
from vecferry.stores.lancedb.options import Options

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
IDS = ["a", "é", "日本語", "\U0001f600\u200d\U0001f468", "x" * 300, "ß", "it's", "z"]
METADATA = [b"{}", '{"ключ": "значение"}'.encode(), b'{"a": 1}', '{"\U0001f600": "日本"}'.encode(), b"{}", b'{"": ""}']


def layout(text: pa.DataType | None = None) -> Layout:
    """That of a table of ours, with ``text`` as the type of ids and metadata."""
    schema = new_schema(collection(), PLACEMENT, "attributes")
    for name in (PLACEMENT.id, "attributes") if text is not None else ():
        schema = schema.set(schema.get_field_index(name), schema.field(name).with_type(text))
    return layout_of(schema, collection(), PLACEMENT)


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()], ids=str)
def test_texts_of_any_length_stay_in_their_rows(text: pa.DataType) -> None:
    events = batch((Op.UPSERT, id_, at(i)) for i, id_ in enumerate(IDS))
    events = replace(events, metadata=[METADATA[i % len(METADATA)] for i in range(len(IDS))])
    table = to_arrow(events, layout(text))
    table.validate(full=True)
    assert table[PLACEMENT.id].type == table["attributes"].type == text
    assert table[PLACEMENT.id].to_pylist() == IDS
    wanted = [value.decode() for value in events.metadata]
    assert table["attributes"].to_pylist() == wanted
    assert table[JSON].chunk(0).storage.to_pylist() == wanted


@given(rows=st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT, max_size=3) | st.none(), max_size=20))
def test_any_texts_and_deletes_stay_in_their_rows(rows: dict[str, dict[str, str] | None]) -> None:
    events = batch(
        (Op.DELETE, id_, at(i)) if value is None else (Op.UPSERT, id_, at(i), value)
        for i, (id_, value) in enumerate(rows.items())
    )
    table = to_arrow(events, layout())
    table.validate(full=True)
    assert table[PLACEMENT.id].to_pylist() == list(rows)
    assert table[POSITION].to_pylist() == [at(i) for i in range(len(rows))]
    assert table[DELETED].to_pylist() == [value is None for value in rows.values()]
    for name in ("attributes", JSON):
        texts = [text for chunk in table[name].chunks for text in getattr(chunk, "storage", chunk).to_pylist()]
        assert [text and json.loads(text) for text in texts] == list(rows.values())
    vectors = [vector for chunk in table[PLACEMENT.vector].chunks for vector in chunk.storage.to_pylist()]
    assert [vector is None for vector in vectors] == [value is None for value in rows.values()]


@pytest.mark.parametrize("broken", [[b'{"a": "\xc3', b'\xa9"}'], [b"{}", b"\xff"], [b"\xc3", b""]], ids=repr)
def test_metadata_that_is_not_text_is_refused_also_where_joined_it_would_be(broken: list[bytes]) -> None:
    events = replace(batch([(Op.UPSERT, "a", at(1)), (Op.UPSERT, "b", at(2))]), metadata=broken)
    with pytest.raises(pa.ArrowInvalid, match="UTF"):
        to_arrow(events, layout())


def test_vectors_are_not_copied() -> None:
    events = batch((Op.UPSERT, f"v{i}", at(i)) for i in range(50))
    held = to_arrow(events, layout())[PLACEMENT.vector].chunk(0).storage
    assert held.values.buffers()[1].address == events.vectors.ctypes.data
    assert len(held.values) == events.vectors.size


def test_vectors_are_written_without_being_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr("lancedb.table.has_nan_values", looked_at.append)
    placement = Placement(table="t", id="id", vector="vector", metadata="metadata")  # a name that lancedb looks for
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), placement)
    store.create(complete=False)
    store.apply(batch([(Op.UPSERT, "a", at(1)), (Op.UPSERT, "b", at(2)), (Op.DELETE, "c", at(3))]), [])
    assert not looked_at
    table = lancedb.connect(tmp_path).open_table("t")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), DIMENSION)
    held = contents(store.fetch(["a", "b", "c"]))
    assert [held[id_].vector for id_ in "abc"] == [vector_for(at(1)).tobytes(), vector_for(at(2)).tobytes(), None]
    assert table.count_rows("vector IS NOT NULL") == 2  # marks and what is deleted have none


def test_typed_columns_beside_texts_of_differing_length(tmp_path: Path) -> None:
    typed = Placement(table="t", id="id", vector="vector", metadata=("title", "price"))
    vector = pa.list_(pa.float32(), DIMENSION)
    fields = {"id": pa.string(), "vector": vector, "title": pa.large_string(), "price": pa.float64()}
    lancedb.connect(tmp_path).create_table("t", schema=pa.schema(list(fields.items())))
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), typed)
    store.create(complete=False)
    metadata: list[dict[str, object]] = [
        {},
        {"title": ""},
        {"title": "日本語"},
        {"price": 0.5},
        {"title": "é", "price": 2.0},
    ]
    vectors = np.ones((len(metadata), DIMENSION), np.float32)
    store.apply(batch_of(IDS[: len(metadata)], vectors, metadata), [])
    held = contents(store.fetch(IDS))
    assert [held[id_].metadata for id_ in IDS[: len(metadata)]] == metadata
    with pytest.raises(Rejected):
        store.apply(replace(batch([(Op.UPSERT, "a", at(9))]), metadata=[b'{"title": "\xff"}']), [])


def test_ledger_rows_have_the_same_columns() -> None:
    rows, ledger = to_arrow(batch([]), layout()), ledger_rows([("\0é", 7), ("\0", None)], layout())
    assert pa.concat_tables([rows, ledger]).schema == rows.schema
    assert ledger[PLACEMENT.id].to_pylist() == ["\0é", "\0"]
    assert ledger[POSITION].to_pylist() == [7, None]
    assert ledger[PLACEMENT.vector].null_count == ledger[JSON].null_count == 2
