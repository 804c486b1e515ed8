"""The LanceDB side of the store suites; see ``store_factory``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from store_data import Seed
from vecferry.schemas.collection import Collection, Placement

SERVER = False


def place(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """A directory of its own."""
    directory: Path = request.getfixturevalue("tmp_path")
    yield {"uri": str(directory / "lance")}


def make_existing(
    options: Mapping[str, str], collection: Collection, placement: Placement, rows: Sequence[Seed]
) -> None:
    """One JSON text column, and a column of the application that vecferry knows nothing of."""
    assert isinstance(placement.metadata, str)
    values = np.array([row.vector for row in rows], np.float32).ravel()
    table = pa.table(
        {
            "note": ["kept"] * len(rows),
            placement.vector: pa.FixedSizeListArray.from_arrays(values, collection.space.dimension),
            placement.metadata: [json.dumps(row.metadata) for row in rows],
            placement.id: [row.id for row in rows],
        }
    )
    lancedb.connect(options["uri"]).create_table(placement.table, table)


def drop_table(options: Mapping[str, str], placement: Placement) -> None:
    """Its files are gone with it."""
    lancedb.connect(options["uri"]).drop_table(placement.table)


def physical_rows(options: Mapping[str, str], placement: Placement, id_: str) -> int:
    """Counted by a plain filter; a deleted id has no vector."""
    quoted = id_.replace("'", "''")
    table = lancedb.connect(options["uri"]).open_table(placement.table)
    return table.count_rows(f"`{placement.id}` = '{quoted}' AND `{placement.vector}` IS NOT NULL")


_PRICE = pa.field("price", pa.float64())


def make_typed(options: Mapping[str, str], collection: Collection, placement: Placement) -> None:
    """``TYPED`` of ``store_data``."""
    own = [pa.field("sku", pa.string()), pa.field("embedding", pa.list_(pa.float32(), collection.space.dimension))]
    typed = [pa.field("rank", pa.int64()), pa.field("small", pa.int16()), _PRICE, pa.field("title", pa.string())]
    lancedb.connect(options["uri"]).create_table(placement.table, schema=pa.schema([*own, *typed]))


def alter(options: Mapping[str, str], placement: Placement, change: str, *, undo: bool = False) -> None:
    """As the owner of the table does it."""
    table = lancedb.connect(options["uri"]).open_table(placement.table)
    match change, undo:
        case "add", False:
            table.add_columns([pa.field("note", pa.string())])
        case "add", True:
            table.drop_columns(["note"])
        case "drop", False:
            table.drop_columns(["price"])
        case "drop", True:
            table.add_columns([_PRICE])
        case "rename", _:
            table.alter_columns({"path": "cost" if undo else "price", "rename": "price" if undo else "cost"})
        case "cast", _:
            table.alter_columns({"path": "rank", "data_type": pa.int64() if undo else pa.int16()})
        case "widen", _:
            table.alter_columns({"path": "small", "data_type": pa.int16() if undo else pa.int64()})
        case _:
            raise AssertionError(change)
