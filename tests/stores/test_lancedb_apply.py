"""Outcomes stay exact while several processes write and compact the same table."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lancedb
import numpy as np
import pytest
from store_data import DIMENSION, PLACEMENT, at, batch, batch_of, collection
from vecferry.errors import Fatal
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.store import COMMITS_PER_COMPACTION, LanceStore
from vecferry.stores.lancedb.table import Connection

ROUNDS = 25
IDS = 60
PER_ROUND = 20


def contend(uri: str, seed: int) -> list[tuple[str, int, int]]:
    """Write random newer and older events of the same ids as the other process; (id, position, outcome) of each."""
    store = LanceStore(uri, collection(), PLACEMENT)
    rng = np.random.default_rng(seed)
    seen = []
    for turn in range(ROUNDS):
        ids = [f"id-{number}" for number in rng.choice(IDS, PER_ROUND, replace=False)]
        offsets = [int(offset) for offset in rng.integers(turn, turn + 12, PER_ROUND)]
        ops = rng.choice([Op.UPSERT, Op.DELETE, Op.SNAPSHOT], PER_ROUND)
        events = [(Op(op), id_, at(offset)) for op, id_, offset in zip(ops, ids, offsets, strict=True)]
        outcomes = store.apply(batch(events), [LiveMark(partition=seed, next_offset=turn)])
        seen += [(id_, at(offset), int(o)) for id_, offset, o in zip(ids, offsets, outcomes, strict=True)]
        if turn % 8 == 7:
            store._commits = COMMITS_PER_COMPACTION
            store.maintain()
    return seen


def test_every_outcome_is_exact_under_contention(tmp_path: Path) -> None:
    uri = str(tmp_path / "lance")
    store = open_store({"uri": uri}, collection(), PLACEMENT)
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
    assert table.count_rows() == len(newest) + store.applied().live.__len__()
    assert store.applied().live == {0: 0, 1: ROUNDS - 1, 2: ROUNDS - 1, 3: 0}


def test_ten_thousand_mixed_outcomes_at_once(tmp_path: Path) -> None:
    store = open_store({"uri": str(tmp_path)}, collection(), PLACEMENT)
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
    store = open_store({"uri": str(tmp_path)}, collection(), PLACEMENT)
    store.create(complete=False)
    table = lancedb.connect(tmp_path).open_table(PLACEMENT.table)
    before = table.version
    assert store.apply(batch([]), []).shape == (0,)
    table.checkout_latest()
    assert table.version == before


def test_a_handle_from_before_a_fork_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(str(tmp_path), collection(), PLACEMENT)
    monkeypatch.setattr("vecferry.stores.lancedb.table.os.getpid", lambda: -1)
    with pytest.raises(Fatal, match="before a fork"):
        connection.current()
