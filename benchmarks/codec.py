"""What the codec costs beside fastavro, which reads and writes the same record with the same schema."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.decode import EventDecoder
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import HEADER_BYTES

BATCH = 1_000
ROUNDS = 9
BOUND = 1 / 8  # of fastavro's time
METADATA = '{"section":"libs","priority":"optional","installed_kib":1234}'


def run() -> list[dict[str, Any]]:
    """Rows of name, ours, baseline, ratio, bound and unit; ours is the time per event in a batch of BATCH."""
    return [row for dimension in (384, 768, 1536) for row in _measure(dimension)]


def _measure(dimension: int) -> list[dict[str, Any]]:
    space = Space(model="all-MiniLM-L6-v2", version="1", dimension=dimension, metric="cosine")
    collection = Collection(name="bench", space=space, partitions=4)
    vectors = np.random.default_rng(1).standard_normal((BATCH, dimension)).astype(np.float32)
    keys = [f"product-{number}".encode() for number in range(BATCH)]
    encoder, decoder, schema = EventEncoder(collection), EventDecoder(collection), current("vector_event").schema
    now, event_id, metadata = int(time.time() * 1000), bytes(range(16)), METADATA.encode()
    record = {"op": "UPSERT", "event_id": event_id, "occurred_at": now, "metadata": METADATA, "source_text": None}
    record["space"] = {"model": space.model, "version": "1", "dimension": dimension, "metric": "cosine"}
    # Lists, as fastavro wants them, and without the array that a consumer would have to make: harder for ours.
    events = [
        {**record, "id": key.decode(), "vector": vector.tolist()}
        for key, vector in zip(keys[:100], vectors, strict=False)
    ]

    def encode() -> list[bytes]:
        return [
            encoder.upsert(key, memoryview(vector), metadata, event_id=event_id, occurred_at_ms=now)
            for key, vector in zip(keys, vectors, strict=True)
        ]

    def encode_with_fastavro() -> list[bytes]:
        out = []
        for event in events:
            buffer = BytesIO()
            fastavro.schemaless_writer(buffer, schema, event)
            out.append(buffer.getvalue())
        return out

    values = encode()
    assert [value[HEADER_BYTES:] for value in values[:100]] == encode_with_fastavro()
    partitions, offsets = np.zeros(BATCH, np.int32), np.arange(BATCH, dtype=np.int64)

    def decode() -> None:
        assert len(decoder.decode(values, keys, partitions, offsets).rows) == BATCH

    def decode_with_fastavro() -> None:
        for value in values[:100]:
            fastavro.schemaless_reader(BytesIO(value[HEADER_BYTES:]), schema, None)

    return [
        _compare(f"encode {dimension}-d", encode, encode_with_fastavro),
        _compare(f"decode {dimension}-d", decode, decode_with_fastavro),
    ]


def _compare(name: str, ours: Callable[[], object], baseline: Callable[[], object]) -> dict[str, Any]:
    ours(), baseline()
    rounds = [(_seconds(ours) / BATCH, _seconds(baseline) / 100) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(times) * 1e6 for times in zip(*rounds, strict=True))
    return {"name": name, "ours": mine, "baseline": theirs, "ratio": mine / theirs, "bound": BOUND, "unit": "us/event"}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    for row in run():
        print("{name:32} {ours:12.2f} {baseline:12.2f} {unit:9} ratio {ratio:6.3f} bound {bound:.3f}".format(**row))
