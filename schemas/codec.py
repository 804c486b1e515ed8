"""Encoding one event: the bytes of a Kafka record of the live topic.

Everything constant for a collection is made once; the vector goes in as it lies in memory, because an Avro block of n
floats is ``zigzag(n)``, n little-endian float32, ``0x00``. Byte-identical to fastavro (a property test holds it).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .avro import MAX_LONG_BYTES, encode_long, encode_size
from .batch import Op
from .collection import Collection, Space
from .definitions import current
from .framing import MAGIC

if TYPE_CHECKING:
    from typing_extensions import Buffer

EVENT_ID_BYTES = 16
NO_METADATA = b"{}"


def encode_space(space: Space) -> bytes:
    """The Avro record Space."""
    model, version, metric = space.model.encode(), space.version.encode(), space.metric.encode()
    sizes = [encode_size(len(text)) for text in (model, version, metric)]
    return b"".join((sizes[0], model, sizes[1], version, encode_long(space.dimension), sizes[2], metric))


def event_prefix(collection: Collection, op: Op) -> bytes:
    """What every event of ``op`` in ``collection`` starts with when this version wrote it: header, op, space."""
    return MAGIC + current("vector_event").fingerprint + encode_long(op) + encode_space(collection.space)


class EventEncoder:
    """Encodes events of one collection. Checks nothing: arguments are what the publisher validated. Thread-safe."""

    __slots__ = ("_before_vector", "_count", "_delete", "_occurred", "_upsert", "_vector_bytes")

    def __init__(self, collection: Collection) -> None:
        self._upsert = event_prefix(collection, Op.UPSERT)
        self._delete = event_prefix(collection, Op.DELETE)
        self._count = encode_size(collection.space.dimension)
        self._before_vector = b"\0" + self._count  # where there is no source text
        self._vector_bytes = 4 * collection.space.dimension
        self._occurred = (0, b"\0")

    @property
    def fixed_bytes(self) -> int:
        """A lower bound of the bytes of an upsert, without key, metadata and source text."""
        lengths = 5 * MAX_LONG_BYTES  # time, id, metadata, source_text and its branch
        return len(self._upsert) + EVENT_ID_BYTES + lengths + len(self._count) + self._vector_bytes + 1

    def upsert(
        self,
        key: bytes,
        vector: Buffer | NDArray[np.float32],
        metadata: bytes,
        *,
        event_id: bytes,
        occurred_at_ms: int,
        source_text: bytes | None = None,
    ) -> bytes:
        """An UPSERT. ``key`` is the id as UTF-8, ``vector`` d little-endian float32 in one piece, ``metadata`` JSON."""
        occurred = self._occurred
        parts: tuple[Any, ...] = (  # bytes, and one other buffer
            self._upsert,
            event_id,
            occurred[1] if occurred[0] == occurred_at_ms else self._time(occurred_at_ms),
            encode_size(len(key)),
            key,
            encode_size(len(metadata)),
            metadata,
            self._before_vector if source_text is None else self._text(source_text),
            vector,
            b"\0",
        )
        return b"".join(parts)

    def delete(self, key: bytes, *, event_id: bytes, occurred_at_ms: int) -> bytes:
        """A DELETE of the id ``key``."""
        head = (self._delete, event_id, self._time(occurred_at_ms), encode_size(len(key)), key)
        return b"".join((*head, encode_size(len(NO_METADATA)), NO_METADATA, b"\0", b"\0"))

    def _text(self, source_text: bytes) -> bytes:
        return b"".join((b"\2", encode_size(len(source_text)), source_text, self._count))

    def _time(self, occurred_at_ms: int) -> bytes:
        # Many events share a millisecond. One tuple, so that a thread never pairs a time with another one's bytes.
        encoded = encode_long(occurred_at_ms)
        self._occurred = (occurred_at_ms, encoded)
        return encoded


def little_endian(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """``vectors`` C-contiguous and in the byte order of the wire; the same array where it already is."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    return array if sys.byteorder == "little" else array.byteswap()
