"""Live apply into LanceDB, against the same guarded merge called directly with the same rows, ready made.

The same rows: the direct merge carries the mark too, for without it the statement would not be the same. (A row without
a vector makes Lance write the vectors of its page with validity: about 10 % of a merge of 10,000, 4 % of one of 1,000.)
What the adapter spares lancedb (a search for NaN in vectors that were decoded as finite) counts for it: whoever calls
lancedb with plain arrays pays for that. Both sides run in turns in one process, on tables that grow alike, so that the
ratio holds on a busy machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.collection import Collection, Placement, Space
from vecferry.schemas.position import base_position, encode_position
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

from .pairs import paired

DIMENSION = 384
BOUND = 0.95
TURNS = {1_000: 60, 10_000: 15}
TABLES = 3  # one after the other: each merge reads all that its table holds
EPOCH = 1

GUARD = (
    "target.vecferry_position < source.vecferry_position OR "
    f"(target.vecferry_position IS NULL AND {base_position(EPOCH)} < source.vecferry_position)"
)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"}),
        pa.field("vector", pa.list_(pa.float32(), DIMENSION)),
        pa.field("metadata", pa.string()),
        pa.field("vecferry_position", pa.int64()),
        pa.field("vecferry_deleted", pa.bool_()),
        pa.field("vecferry_json", pa.json_(pa.utf8())),
    ]
)


def run(directory: Path) -> list[dict[str, object]]:
    """One row per batch size: rows per second of both sides, and the median of the ratios of the turns."""
    return [_compare(directory / str(rows), rows, turns) for rows, turns in TURNS.items()]


def _compare(directory: Path, rows: int, turns: int) -> dict[str, object]:
    vectors = np.random.default_rng(rows).standard_normal((rows, DIMENSION), dtype=np.float32)
    sides: tuple[list[float], list[float]] = ([], [])
    for number in range(TABLES):
        _take_turns(directory / str(number), vectors, turns, sides)
    name = f"lancedb live apply, batches of {rows} x {DIMENSION}"
    return paired(name, *([rows / s for s in side] for side in sides), bound=BOUND, unit="rows/s")


def _take_turns(
    directory: Path, vectors: NDArray[np.float32], turns: int, sides: tuple[list[float], list[float]]
) -> None:
    """Seconds of each turn, ours and direct, on two new tables."""
    rows = len(vectors)
    store, direct = _our_side(directory), _direct_side(directory)
    for turn in range(turns + 2):
        batch = _batch(turn, vectors)
        ready = _as_table(batch, turn)
        mark = [LiveMark(partition=0, next_offset=(turn + 1) * rows)]
        calls: list[Callable[[], object]] = [partial(store.apply, batch, mark), partial(direct, ready)]
        first = turn % 2
        times = {side: _timed(calls[side]) for side in (first, 1 - first)}
        if turn >= 2:  # the first turns warm both sides up
            for side, seconds in times.items():
                sides[side].append(seconds)
    store.close()


def _our_side(directory: Path) -> Store:
    space = Space(model="benchmark", version="1", dimension=DIMENSION, metric="cosine")
    collection = Collection(name="rows", space=space, partitions=1, epoch=EPOCH)
    store = open_store(Options.model_validate({"uri": str(directory / "ours")}), collection, Placement(table="rows"))
    store.create(complete=False)
    return store


def _direct_side(directory: Path) -> Callable[[pa.Table], object]:
    table = lancedb.connect(directory / "direct").create_table("rows", schema=SCHEMA)

    def merge(rows: pa.Table) -> object:
        builder = table.merge_insert("id").when_matched_update_all(where=GUARD).when_not_matched_insert_all()
        return builder.execute(rows, on_bad_vectors="null")

    return merge


def _batch(turn: int, vectors: NDArray[np.float32]) -> EventBatch:
    """Half of the ids are new, half replace those of the turn before."""
    rows = len(vectors)
    first = turn * rows // 2
    return EventBatch(
        ids=[f"product-{number:09d}" for number in range(first, first + rows)],
        ops=np.full(rows, Op.UPSERT, np.int8),
        partitions=np.zeros(rows, np.int32),
        positions=encode_position(EPOCH, turn * rows) + np.arange(rows, dtype=np.int64),
        vectors=vectors,
        metadata=[_metadata(number) for number in range(first, first + rows)],
    )


def _metadata(number: int) -> bytes:
    fields = {"title": f"A thing numbered {number}", "section": f"s{number % 40}", "price": number % 997, "new": True}
    return json.dumps(fields).encode()


def _as_table(batch: EventBatch, turn: int) -> pa.Table:
    texts = pa.array(batch.metadata, pa.string())
    columns = [
        pa.array(batch.ids),
        pa.FixedSizeListArray.from_arrays(batch.vectors.ravel(), DIMENSION),
        texts,
        pa.array(batch.positions),
        pa.array(np.zeros(len(batch), np.bool_)),
        pa.ExtensionArray.from_storage(pa.json_(pa.utf8()), texts),
    ]
    mark = {
        "id": "\x00vecferry/live/0",
        "vecferry_position": encode_position(EPOCH, (turn + 1) * len(batch)),
        "vecferry_deleted": True,
    }
    arrays = [pa.array([mark[f.name]], f.type) if f.name in mark else pa.nulls(1, f.type) for f in SCHEMA]
    rows = pa.Table.from_arrays(columns, schema=SCHEMA)
    return pa.concat_tables([rows, pa.Table.from_arrays(arrays, schema=SCHEMA)])


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
