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
