"""A zero vector has no cosine with anything: in LanceDB no search returns it, and none returns NaN as a score."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from store_data import at, batch_of, collection
from vecferry.schemas.collection import Metric, Placement
from vecferry.stores.lancedb import search as search_module
from vecferry.stores.lancedb.store import LanceStore

ROWS, DIMENSION = 1_500, 8


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(("metric", "found"), [("cosine", ROWS - 1), ("dot", ROWS), ("l2", ROWS)])
def test_zero_vectors_never_score_nan(
    tmp_path: Path, metric: Metric, found: int, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "FLAT_ROWS", 1_000)
    vectors = np.random.default_rng(6).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    vectors[7] = 0
    store = LanceStore(str(tmp_path), collection(dimension=DIMENSION, metric=metric), Placement(table="t"))
    store.create(complete=False)
    ids = [f"id-{number}" for number in range(ROWS)]
    store.apply(batch_of(ids, vectors, [{"all": True}] * ROWS), ())
    if indexed:
        store.build_index()
    hits = store.search(vectors[0], ROWS + 9, (), 30.0)
    assert len(hits) == found
    assert all(math.isfinite(hit.score) for hit in hits)
    assert ("id-7" in {hit.id for hit in hits}) == (metric != "cosine")
    assert store.fetch(["id-7"]).positions.tolist() == [at(7)]
