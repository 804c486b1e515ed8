"""One of several writers of a LanceDB table, in a process of its own (importable by a spawned process)."""

from __future__ import annotations

import numpy as np
from store_data import PLACEMENT, at, batch, collection
from vecferry.schemas.batch import LiveMark, Op
from vecferry.stores.lancedb.housekeeping import COMMITS_PER_COMPACTION
from vecferry.stores.lancedb.store import LanceStore

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
            store._housekeeping._commits = COMMITS_PER_COMPACTION
            store.maintain()
    return seen
