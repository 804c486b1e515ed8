"""Events of one small collection, as fastavro writes them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.decode import Decoded, EventDecoder
from vecferry.schemas.definitions import current
from vecferry.schemas.framing import MAGIC

D = 3
COLLECTION = Collection(
    name="products", space=Space(model="mini", version="1", dimension=D, metric="cosine"), partitions=4, epoch=7
)
SPACE = {"model": "mini", "version": "1", "dimension": D, "metric": "cosine"}
HEADER = MAGIC + current("vector_event").fingerprint
EVENT_ID = bytes(range(16))
ENCODER = EventEncoder(COLLECTION)
DECODER = EventDecoder(COLLECTION)


def record(**changes: Any) -> dict[str, Any]:
    base = {
        "op": "UPSERT",
        "space": SPACE,
        "event_id": EVENT_ID,
        "occurred_at": 1_790_000_000_000,
        "id": "a",
        "metadata": '{"k":1}',
        "source_text": None,
        "vector": [1.0, 2.0, 3.0],
    }
    return base | changes


def reference(event: dict[str, Any], schema: Any = None) -> bytes:
    """fastavro's bytes for an event, header included."""
    out = BytesIO()
    fastavro.schemaless_writer(out, current("vector_event").schema if schema is None else schema, event)
    return HEADER + out.getvalue()


def decode(values: list[bytes | None], keys: list[bytes | None], decoder: EventDecoder = DECODER) -> Decoded:
    n = len(values)
    return decoder.decode(values, keys, np.arange(n, dtype=np.int32) % 4, np.arange(n, dtype=np.int64) + 10)


def blocks(*parts: bytes) -> bytes:
    """An event whose vector array is made of these blocks."""
    whole = reference(record(vector=[]))
    return whole[:-1] + b"".join(parts) + b"\0"


ONE, TWO, THREE = (np.float32(x).tobytes() for x in (1, 2, 3))
