"""Outcomes stay exact while several processes write and compact the same table."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lancedb
import numpy as np
import pytest
from contending import ROUNDS, contend
from store_data import DIMENSION, PARTITIONS, PLACEMENT, batch, batch_of, collection
from vecferry.schemas.batch import LiveMark, Outcome
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options


@pytest.mark.slow
def test_every_outcome_is_exact_under_contention(tmp_path: Path) -> None:
    uri = str(tmp_path / "lance")
    store = open_store(Options.model_validate({"uri": uri}), collection(), PLACEMENT)
    store.create(complete=False)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        seen = [event for result in pool.map(contend, [uri, uri], [1, 2]) for event in result]
    applied = [(id_, position) for id_, position, outcome in seen if outcome == Outcome.APPLIED]
    assert len(applied) == len(set(applied)), "one event was applied twice"
    newest: dict[str, int] = {}
    for id_, position, _ in seen:
        newest[id_] = max(position, newest.get(id_, 0))
    held = store.fetch(list(newest))
    assert dict(zip(held.ids, held.positions.tolist(), strict=True)) == newest
    assert set(newest.items()) <= set(applied)
    for id_, position, outcome in seen:
        if outcome == Outcome.DUPLICATE:
            assert (id_, position) in applied
    table = lancedb.connect(uri).open_table(PLACEMENT.table)
    assert table.count_rows() == len(newest) + store.applied().live.__len__() + PARTITIONS  # marks and locks
    assert store.applied().live == {0: 0, 1: ROUNDS - 1, 2: ROUNDS - 1, 3: 0}


def test_ten_thousand_mixed_outcomes_at_once(tmp_path: Path) -> None:
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), PLACEMENT)
    store.create(complete=False)
    ids = [f"it's {number}" for number in range(10_000)]
    vectors = np.random.default_rng(0).random((len(ids), DIMENSION), dtype=np.float32)
    some = np.arange(0, len(ids), 3)
    store.apply(batch_of([ids[i] for i in some], vectors[some], [{}] * len(some), first=5_000), [])
    outcomes = store.apply(batch_of(ids, vectors, [{}] * len(ids), first=0), [LiveMark(partition=0, next_offset=1)])
    held = {int(i): 5_000 + turn for turn, i in enumerate(some)}
    wanted = [
        Outcome.APPLIED if held.get(i, -1) < i else Outcome.DUPLICATE if held[i] == i else Outcome.STALE
        for i in range(len(ids))
    ]
    assert {Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE} == set(wanted)
    assert outcomes.tolist() == wanted


def test_an_empty_call_makes_no_commit(tmp_path: Path) -> None:
    store = open_store(Options.model_validate({"uri": str(tmp_path)}), collection(), PLACEMENT)
    store.create(complete=False)
    table = lancedb.connect(tmp_path).open_table(PLACEMENT.table)
    before = table.version
    assert store.apply(batch([]), []).shape == (0,)
    table.checkout_latest()
    assert table.version == before
