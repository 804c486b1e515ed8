"""From the arguments of a publishing call to the bytes of its records. Pure, but for the clock and the event ids."""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schemas.codec import EventEncoder
from ..schemas.collection import MAX_RECORD_BYTES, Collection
from ..schemas.fields import RowFields
from ..schemas.ids import Id
from .validation import Metadata, Validator, each_of, rows_of, too_large

_EVENT_ID = struct.Struct(">8sQ")  # random per publisher, then a counter
Record = tuple[bytes, bytes]  # key and value


class Records:
    """Makes the records of one collection, or raises InvalidRecord. ``unix_s`` is the time of day. Thread-safe.

    ``replicas``: as of :class:`Validator`.
    """

    __slots__ = ("_encoder", "_event_ids", "_unix_s", "_validator")

    def __init__(
        self,
        collection: Collection,
        metadata_fields: frozenset[str] | None,
        unix_s: Callable[[], float],
        event_ids: Iterator[bytes],
        replicas: Sequence[RowFields] = (),
    ) -> None:
        self._validator = Validator(collection, metadata_fields, replicas)
        self._encoder = EventEncoder(collection)
        self._event_ids = event_ids
        self._unix_s = unix_s

    def upsert(self, id_: Id, vector: ArrayLike, metadata: Metadata | None, source_text: str | None) -> Record:
        """The record of one row."""
        validator = self._validator
        key = validator.key(id_)
        value = self._encoder.upsert(
            key,
            validator.vector(vector),
            validator.metadata(metadata),
            event_id=next(self._event_ids),
            occurred_at_ms=int(self._unix_s() * 1000),
            source_text=validator.text(source_text),
        )
        if len(value) + len(key) > MAX_RECORD_BYTES:
            raise too_large(len(value) + len(key), "record")
        return key, value

    def delete(self, id_: Id) -> Record:
        """The record that says that ``id_`` is gone."""
        key = self._validator.key(id_)
        now_ms = int(self._unix_s() * 1000)
        return key, self._encoder.delete(key, event_id=next(self._event_ids), occurred_at_ms=now_ms)

    def upserts(
        self,
        ids: Sequence[Id],
        vectors: ArrayLike,
        metadata: Sequence[Metadata | None] | None,
        source_texts: Sequence[str | None] | None,
    ) -> Iterator[Record]:
        """The records of n rows, in order: all are checked before this returns, and encoded as they are asked for."""
        validator, count = self._validator, len(ids)
        keys = each_of(validator.key, ids, "ids")
        texts = each_of(validator.metadata, rows_of("metadata", metadata, count), "metadata")
        array = validator.vectors(vectors, count)
        sources = each_of(validator.text, rows_of("source_texts", source_texts, count), "source_texts")
        if source_texts is not None:  # without one, the limits of the other fields stay within that of the record
            self._refuse_too_large(keys, texts, sources)
        return self._encoded(keys, array, texts, sources, int(self._unix_s() * 1000))

    def _encoded(
        self,
        keys: Sequence[bytes],
        array: NDArray[np.float32],
        texts: Sequence[bytes],
        sources: Sequence[bytes | None],
        now_ms: int,
    ) -> Iterator[Record]:
        encode = self._encoder.upsert
        for key, row, text, source, event_id in zip(keys, array, texts, sources, self._event_ids, strict=False):
            yield key, encode(key, row, text, event_id=event_id, occurred_at_ms=now_ms, source_text=source)

    def _refuse_too_large(
        self, keys: Sequence[bytes], columns: Sequence[bytes], sources: Sequence[bytes | None]
    ) -> None:
        fixed_bytes = self._encoder.fixed_bytes
        for row, (key, column, source) in enumerate(zip(keys, columns, sources, strict=True)):
            size = fixed_bytes + len(key) + len(column) + len(source or b"")
            if size > MAX_RECORD_BYTES:
                raise too_large(size, f"records[{row}]")


def event_ids(random: bytes) -> Iterator[bytes]:
    """Ids of 16 bytes: the 8 of ``random`` and a counter, so that no two publishers give the same. Thread-safe."""
    return map(functools.partial(_EVENT_ID.pack, random), itertools.count())
