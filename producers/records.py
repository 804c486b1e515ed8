"""From the arguments of a publishing call to the bytes of its records. Pure, but for the clock and the event ids."""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from ..schemas.batch import Op
from ..schemas.codec import EventEncoder, event_prefix
from ..schemas.collection import MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_RECORD_BYTES, Collection
from .validation import Metadata, Validator, each_of, rows_of, too_large

try:
    from ._native import PlainEncoder
except ImportError:  # installed where no compiler was: everything goes through the Python code, with the same bytes
    PlainEncoder = None  # type: ignore[assignment, misc]

_EVENT_ID = struct.Struct(">8sQ")  # random per publisher, then a counter
Record = tuple[bytes, bytes]  # key and value
PlainRows = tuple[list[bytes], NDArray[np.float32], list[bytes], float]  # keys, vectors [n, d], metadata, time in s


@dataclass(frozen=True, slots=True)
class Upserts:
    """Rows that were checked, to be encoded when they are sent."""

    count: int
    records: Callable[[int, int], Iterable[Record]]
    """Those of the rows from one number to another."""
    plain: PlainRows | None
    """What compiled code can encode by itself."""


class Records:
    """Makes the records of one collection, or raises InvalidRecord. ``unix_s`` is the time of day. Thread-safe.

    What is plain (see ``_plain.c``) is made by ``plain``, compiled code, where that is given; everything else here.
    """

    __slots__ = ("_encoder", "_event_ids", "_plain", "_unix_s", "_validator")

    def __init__(
        self,
        collection: Collection,
        metadata_fields: frozenset[str] | None,
        unix_s: Callable[[], float],
        event_ids: Iterator[bytes],
        plain: PlainEncoder | None,
    ) -> None:
        self._validator = Validator(collection, metadata_fields)
        self._encoder = EventEncoder(collection)
        self._plain = plain
        self._event_ids = event_ids
        self._unix_s = unix_s

    def upsert(self, id_: str, vector: ArrayLike, metadata: Metadata | None, source_text: str | None) -> Record:
        """The record of one row."""
        unix_s = self._unix_s()
        if self._plain is not None and source_text is None:
            record = self._plain.upsert(id_, vector, metadata, unix_s)
            if record is not None:
                return record
        validator = self._validator
        key = validator.key(id_)
        value = self._encoder.upsert(
            key,
            validator.vector(vector),
            validator.metadata(metadata),
            event_id=next(self._event_ids),
            occurred_at_ms=int(unix_s * 1000),
            source_text=validator.text(source_text),
        )
        if len(value) + len(key) > MAX_RECORD_BYTES:
            raise too_large(len(value) + len(key), "record")
        return key, value

    def delete(self, id_: str) -> Record:
        """The record that says that ``id_`` is gone."""
        key = self._validator.key(id_)
        now_ms = int(self._unix_s() * 1000)
        return key, self._encoder.delete(key, event_id=next(self._event_ids), occurred_at_ms=now_ms)

    def upserts(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        metadata: Sequence[Metadata | None] | None,
        source_texts: Sequence[str | None] | None,
    ) -> Upserts:
        """The records of n rows, in order: all are checked before this returns."""
        ids = list(ids)  # whatever the caller does with his meanwhile
        validator, count = self._validator, len(ids)
        columns = rows_of("metadata", metadata, count)
        plain = None if self._plain is None else self._plain.parts(ids, list(columns))
        keys, texts = plain or (each_of(validator.key, ids, "ids"), each_of(validator.metadata, columns, "metadata"))
        array = validator.vectors(vectors, count)
        unix_s = self._unix_s()
        if self._plain is not None and source_texts is None:
            aligned = np.require(array, requirements="A")  # which a view of somebody's buffer need not be
            rows = keys, aligned, texts, unix_s
            return Upserts(count, functools.partial(self._plain.records, *rows), rows)
        sources = each_of(validator.text, rows_of("source_texts", source_texts, count), "source_texts")
        self._refuse_too_large(keys, texts, sources)
        encode, now_ms = self._encoder.upsert, int(unix_s * 1000)

        def records(start: int, stop: int) -> Iterator[Record]:
            columns = (column[start:stop] for column in (keys, array, texts, sources))
            for key, row, text, source in zip(*columns, strict=True):
                event_id = next(self._event_ids)
                yield key, encode(key, row, text, event_id=event_id, occurred_at_ms=now_ms, source_text=source)

        return Upserts(count, records, None)

    def _refuse_too_large(
        self, keys: Sequence[bytes], columns: Sequence[bytes], sources: Sequence[bytes | None]
    ) -> None:
        fixed_bytes = self._encoder.fixed_bytes
        for row, (key, column, source) in enumerate(zip(keys, columns, sources, strict=True)):
            size = fixed_bytes + len(key) + len(column) + len(source or b"")
            if size > MAX_RECORD_BYTES:
                raise too_large(size, f"records[{row}]")


def event_ids(random: bytes, first: int = 0) -> Iterator[bytes]:
    """Ids of 16 bytes: the 8 of ``random`` and a counter, so that no two publishers give the same. Thread-safe.

    Within a publisher the counter alone says which record an event is, so that of :func:`plain_encoder`, which begins
    with 0, needs another range.
    """
    return map(functools.partial(_EVENT_ID.pack, random), itertools.count(first))


def event_id_at(collection: Collection) -> int:
    """At which byte of an event its id begins, whatever it does."""
    return len(event_prefix(collection, Op.UPSERT))


def plain_encoder(collection: Collection, metadata_fields: frozenset[str] | None, random: bytes) -> PlainEncoder | None:
    """The compiled encoder of ``collection``; None where it is not installed, or ids have a form to be checked.

    The ids of its events are as :func:`event_ids` says.
    """
    if PlainEncoder is None or collection.id_type != "text":
        return None
    encoder = EventEncoder(collection)
    return PlainEncoder(
        prefix=encoder.upsert_prefix,
        before_vector=encoder.before_vector,
        fields=metadata_fields,
        dumps=orjson.dumps,
        dimension=collection.space.dimension,
        max_id_bytes=MAX_ID_BYTES,
        max_metadata_bytes=MAX_METADATA_BYTES,
        directed=collection.space.metric == "cosine",
        random=random,
    )
