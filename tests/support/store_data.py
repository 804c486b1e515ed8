"""Small values for the store suites: collections, batches and seed rows, and what a store holds as a plain dict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vecferry.schemas.batch import EventBatch, Op, Rows
from vecferry.schemas.collection import Collection, IdType, Metric, Placement, Space
from vecferry.schemas.position import encode_position
from vecferry.stores.base import MAX_CURSOR_BYTES, Cursor

DIMENSION = 8
PARTITIONS = 4
PLACEMENT = Placement(table="products", id="sku", vector="embedding", metadata="attributes")
TYPED = Placement(table="items", id="sku", vector="embedding", metadata=("rank", "small", "price", "title"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an id holds: position, and for a live row its vector (float32 bytes) and parsed metadata."""

    position: int
    vector: bytes | None  # None: deleted
    metadata: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A row of the application's own table, written before the pipeline existed."""

    id: str
    vector: NDArray[np.float32]
    metadata: Mapping[str, object]


def collection(
    *,
    dimension: int = DIMENSION,
    metric: Metric = "cosine",
    partitions: int = PARTITIONS,
    id_type: IdType = "text",
    epoch: int = 1,
) -> Collection:
    """A collection called ``products``."""
    space = Space(model="test", version="1", dimension=dimension, metric=metric)
    return Collection(name="products", space=space, partitions=partitions, epoch=epoch, id_type=id_type)


def at(offset: int, epoch: int = 1) -> int:
    """The position of ``offset``."""
    return encode_position(epoch, offset)


def partition_of(id_: str, partitions: int = PARTITIONS) -> int:
    """Some fixed partition for an id; stores only ask that an id keeps its own."""
    return sum(id_.encode("utf-8", "surrogatepass")) % partitions


def vector_for(seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """A vector that depends on ``seed`` alone; with subnormal and negative-zero parts, which text formats may lose."""
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    vector[0] = np.float32(1e-42)
    vector[1] = -0.0
    return vector


Event = tuple[Op, str, int] | tuple[Op, str, int, Mapping[str, object]]


def batch(events: Iterable[Event], *, dimension: int = DIMENSION) -> EventBatch:
    """A batch of ``(op, id, position[, metadata])``; the vector of an event is ``vector_for(position)``."""
    rows = [(event if len(event) == 4 else (*event, {"at": event[2]})) for event in events]
    vectors = np.zeros((len(rows), dimension), dtype=np.float32)
    for i, (op, _, position, _) in enumerate(rows):
        if op is not Op.DELETE:
            vectors[i] = vector_for(position, dimension)
    return EventBatch(
        ids=[id_ for _, id_, _, _ in rows],
        ops=np.array([op for op, *_ in rows], dtype=np.int8),
        partitions=np.array([partition_of(id_) for _, id_, _, _ in rows], dtype=np.int32),
        positions=np.array([position for _, _, position, _ in rows], dtype=np.int64),
        vectors=vectors,
        metadata=[b"" if op is Op.DELETE else as_json(metadata) for op, _, _, metadata in rows],
    )


def batch_of(
    ids: Sequence[str], vectors: NDArray[np.float32], metadata: Sequence[Mapping[str, object]], *, first: int = 0
) -> EventBatch:
    """Upserts of the given vectors at offsets ``first``, ``first + 1``, …"""
    n = len(ids)
    return EventBatch(
        ids=list(ids),
        ops=np.full(n, Op.UPSERT, dtype=np.int8),
        partitions=np.array([partition_of(id_) for id_ in ids], dtype=np.int32),
        positions=np.arange(n, dtype=np.int64) + at(first),
        vectors=np.ascontiguousarray(vectors, dtype=np.float32),
        metadata=[as_json(value) for value in metadata],
    )


def as_json(value: Mapping[str, object]) -> bytes:
    """JSON text as a publisher writes it."""
    return json.dumps(value, ensure_ascii=False).encode()


def seeds(n: int, dimension: int = DIMENSION) -> list[Seed]:
    """``n`` rows of an application: ``sku-0000`` and on."""
    return [
        Seed(id=f"sku-{i:04}", vector=vector_for(i, dimension), metadata={"section": f"s{i % 3}", "rank": i})
        for i in range(n)
    ]


def contents(pages: Rows | Iterable[Rows]) -> dict[str, Content]:
    """What ``fetch``, ``scan`` or ``export`` gave, by id; fails if an id came twice or a shape or dtype is wrong."""
    found: dict[str, Content] = {}
    for rows in [pages] if isinstance(pages, Rows) else pages:
        for id_, content in _checked(rows):
            assert id_ not in found, f"{id_!r} came twice"
            found[id_] = content
    return found


def _checked(rows: Rows) -> Iterator[tuple[str, Content]]:
    n = len(rows.ids)
    assert rows.positions.dtype == np.int64
    assert rows.positions.shape == (n,)
    assert rows.deleted.dtype == np.bool_
    assert rows.deleted.shape == (n,)
    assert rows.vectors.dtype == np.float32
    assert rows.vectors.flags.c_contiguous
    assert rows.vectors.ndim == 2
    assert len(rows.vectors) == len(rows.metadata) == n
    for i, id_ in enumerate(rows.ids):
        position = int(rows.positions[i])
        if rows.deleted[i]:
            assert not rows.vectors[i].any()
            assert rows.metadata[i] == b""
            yield id_, Content(position=position, vector=None)
        else:
            metadata = json.loads(rows.metadata[i])
            yield id_, Content(position=position, vector=rows.vectors[i].tobytes(), metadata=metadata)


def journaled(cursor: Cursor) -> Cursor:
    """``cursor`` as it comes back from a record."""
    text = json.dumps(cursor)
    assert len(text) <= MAX_CURSOR_BYTES
    back: Cursor = json.loads(text)
    assert back == cursor
    return back
