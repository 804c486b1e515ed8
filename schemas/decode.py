"""Decoding a batch of events of the live topic, column by column.

Events that this version wrote are parsed without a Python object each. Their variable fields lie between a constant
prefix and the vector at the end, so numpy joins these parts and reads them as columns. An event of any other shape
(another writer's schema, several blocks, damage) is decoded alone by the strict ``records``, which returns an event or
a DecodeError with what was found. Both ways accept the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError
from .batch import EventBatch, Op
from .codec import EVENT_ID_BYTES, event_prefix
from .collection import (
    MAX_ID_BYTES,
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_RECORD_BYTES,
    Collection,
    Space,
)
from .columns import (
    Cursor,
    all_finite,
    are_ids,
    are_shallow,
    are_utf8,
    decode_ids,
    lengths,
    same,
    slices,
    vectors_before_last,
)
from .definitions import Schema, current, writers
from .partitioner import partitions_of
from .position import encode_position
from .records import decode_record, writer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The result for n messages: ``batch`` row j is message ``rows[j]`` (ascending); ``errors`` has all the others."""

    batch: EventBatch
    rows: NDArray[np.intp]
    errors: dict[int, DecodeError]


def drop_misplaced(decoded: Decoded, partitions: int) -> Decoded:
    """``decoded``, in which every event that is not in the partition of its id has become an error.

    Only offsets of one partition order the events of an id. An event in another partition cannot be compared with them:
    it would be refused as stale, or restore an older state. About 0.2 µs per event.
    """
    homes, found = partitions_of(decoded.batch.ids, partitions), decoded.batch.partitions
    if np.array_equal(homes, found):
        return decoded
    errors = dict(decoded.errors)
    for row in np.flatnonzero(homes != found).tolist():
        errors[int(decoded.rows[row])] = DecodeError(
            f"id {decoded.batch.ids[row]!r} belongs to partition {homes[row]} and lies in {found[row]}: a client with "
            "another partitioner wrote it, or the topic was given more partitions; publish it again through vecferry"
        )
    kept = np.flatnonzero(homes == found)
    return Decoded(batch=decoded.batch.take(kept), rows=decoded.rows[kept], errors=errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Messages that became events: ``rows`` are their indices, the rest is as in :class:`EventBatch`."""

    rows: NDArray[np.intp]
    ids: list[str]
    ops: NDArray[np.int8]
    vectors: NDArray[np.float32]
    metadata: list[bytes]


class EventDecoder:
    """Decodes events of one collection. Thread-safe.

    ``extra_writers`` are further Avro schemas (as JSON has them) whose records are to be understood, beside those of
    this and of every released version; raises Refused for one that is unsafe or cannot be read.
    """

    def __init__(self, collection: Collection, extra_writers: Iterable[Schema] = ()) -> None:
        self._space = collection.space
        self._base = encode_position(collection.epoch, 0)
        self._reader = current("vector_event")
        self._writers = writers("vector_event", extra_writers)
        self._upsert = event_prefix(collection, Op.UPSERT)
        self._delete = event_prefix(collection, Op.DELETE)
        self._tail = 4 * collection.space.dimension + 1

    def decode(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        partitions: Sequence[int] | NDArray[np.int32],
        offsets: Sequence[int] | NDArray[np.int64],
    ) -> Decoded:
        """Decode n messages of the live topic; all four arguments have n entries. Never raises for what they hold."""
        columns = self._decode_columns(values, keys)
        errors: dict[int, DecodeError] = {}
        if len(columns.rows) < len(values):
            rest = self._decode_singly(np.setdiff1d(np.arange(len(values)), columns.rows), values, keys, errors)
            columns = _merge(columns, rest)
        batch = EventBatch(
            ids=columns.ids,
            ops=columns.ops,
            partitions=np.asarray(partitions, dtype=np.int32)[columns.rows],
            positions=np.asarray(offsets, dtype=np.int64)[columns.rows] + self._base,
            vectors=columns.vectors,
            metadata=columns.metadata,
        )
        return Decoded(batch=batch, rows=columns.rows, errors=errors)

    def _decode_columns(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> _Columns:
        """The messages that have the expected shape."""
        upsert, delete, tail = self._upsert, self._delete, self._tail
        texts = [b"" if value is None else value for value in values]
        cut = np.array([tail if v.startswith(upsert) else v.startswith(delete) for v in texts], np.int64)
        sizes = lengths(texts)
        rows = np.flatnonzero((cut > 0) & (sizes >= len(upsert) + EVENT_ID_BYTES + cut) & (sizes <= MAX_RECORD_BYTES))
        if len(rows) < len(texts):
            cut = cut[rows]
            kept = rows.tolist()
            texts, keys = [texts[i] for i in kept], [keys[i] for i in kept]
        return self._parse(rows, texts, list(keys), cut)

    def _parse(
        self, rows: NDArray[np.intp], texts: list[bytes], keys: list[bytes | None], cut: NDArray[np.int64]
    ) -> _Columns:
        """Parse events whose last ``cut`` bytes are the floats and the closing zero, or the closing zero alone."""
        upserts, every = cut > 1, np.ones(len(cut), np.bool_)
        skip = len(self._upsert) + EVENT_ID_BYTES
        middles = [text[skip:-end] for text, end in zip(texts, cut.tolist(), strict=True)]
        cursor = Cursor(middles)
        cursor.number(every)  # occurred_at
        raw_ids = slices(middles, *cursor.string(every, 1, MAX_ID_BYTES))
        start, end = cursor.string(every, 0, MAX_METADATA_BYTES)
        metadata = slices(middles, start, end)
        cursor.ok &= ~upserts | ((cursor.bytes_at(start) == ord("{")) & (cursor.bytes_at(end - 1) == ord("}")))
        branch = cursor.number(every)
        cursor.ok &= (branch == 0) | (branch == 1)
        if branch.any():
            cursor.ok &= are_utf8(slices(middles, *cursor.string(branch == 1, 0, MAX_RECORD_BYTES)))
        cursor.ok &= cursor.number(upserts) == np.where(upserts, self._space.dimension, 0)
        cursor.finish()
        closing = np.frombuffer(bytes([text[-1] for text in texts]), np.uint8)
        ok = cursor.ok & (closing == 0) & same(raw_ids, keys) & are_ids(raw_ids) & are_utf8(metadata)
        ok &= are_shallow(metadata, MAX_METADATA_DEPTH + 1)
        return self._columns(rows, texts, raw_ids, metadata, upserts, ok)

    def _columns(
        self,
        rows: NDArray[np.intp],
        texts: list[bytes],
        raw_ids: list[bytes],
        metadata: list[bytes],
        upserts: NDArray[np.bool_],
        ok: NDArray[np.bool_],
    ) -> _Columns:
        vectors = vectors_before_last(texts, self._space.dimension, upserts)
        ok &= all_finite(vectors)
        if not upserts.all():
            metadata = [text if upsert else b"" for text, upsert in zip(metadata, upserts.tolist(), strict=True)]
        if not ok.all():
            rows, vectors, upserts = rows[ok], vectors[ok], upserts[ok]
            kept = np.flatnonzero(ok).tolist()
            raw_ids, metadata = [raw_ids[i] for i in kept], [metadata[i] for i in kept]
        ops = np.where(upserts, Op.UPSERT, Op.DELETE).astype(np.int8)
        return _Columns(rows=rows, ids=decode_ids(raw_ids), ops=ops, vectors=vectors, metadata=metadata)

    def _decode_singly(
        self,
        rows: NDArray[np.intp],
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        errors: dict[int, DecodeError],
    ) -> _Columns:
        """The messages that do not have the expected shape; ``errors`` takes those that are no events at all."""
        found: dict[int, tuple[str, Op, NDArray[np.float32], bytes]] = {}
        for row in rows.tolist():
            try:
                found[row] = self._decode_one(values[row], keys[row])
            except DecodeError as error:
                errors[row] = error
        events = list(found.values())
        return _Columns(
            rows=np.array(list(found), np.intp),
            ids=[event[0] for event in events],
            ops=np.array([event[1] for event in events], np.int8),
            vectors=np.array([event[2] for event in events], np.float32).reshape(len(events), self._space.dimension),
            metadata=[event[3] for event in events],
        )

    def _decode_one(self, value: bytes | None, key: bytes | None) -> tuple[str, Op, NDArray[np.float32], bytes]:
        writer = writer_of(value, self._writers)
        assert value is not None  # writer_of refuses a null value
        record = decode_record(value, writer, self._reader)
        op = Op[record["op"]]
        if op is Op.PATCH:
            raise DecodeError("op PATCH is reserved; publish the whole row with UPSERT")
        check_space(record["space"], self._space)
        check_id(record["id"], key)
        metadata = record["metadata"].encode()
        if len(metadata) > MAX_METADATA_BYTES:
            raise DecodeError(f"metadata of {len(metadata)} bytes; the limit is {MAX_METADATA_BYTES}")
        dimension = 0 if op is Op.DELETE else self._space.dimension
        if len(record["vector"]) != dimension:
            raise DecodeError(f"{op.name} with {len(record['vector'])} vector elements instead of {dimension}")
        if op is Op.DELETE:
            return record["id"], op, np.zeros(self._space.dimension, np.float32), b""
        bare = metadata.strip(b" \t\n\r")
        if not (bare.startswith(b"{") and bare.endswith(b"}")):
            raise DecodeError(f"metadata is no JSON object; it starts with {metadata[:20]!r}")
        if not are_shallow([metadata], MAX_METADATA_DEPTH + 1).all():
            raise DecodeError(f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels")
        with np.errstate(over="ignore"):
            vector = np.array(record["vector"], np.float64).astype(np.float32)
        if not np.isfinite(vector).all():
            element = int(np.flatnonzero(~np.isfinite(vector))[0])
            raise DecodeError(f"vector element {element} is {vector[element]}, not a finite float32")
        return record["id"], op, vector, metadata


def check_space(found: Mapping[str, object], space: Space) -> None:
    """DecodeError unless the decoded record ``found`` is ``space``."""
    wanted = {"model": space.model, "version": space.version, "dimension": space.dimension, "metric": space.metric}
    if found != wanted:
        raise DecodeError(f"space {found} instead of {wanted}")


def check_id(id_: str, key: bytes | None) -> None:
    """DecodeError unless ``id_`` is an id and the Kafka record has it as its ``key``."""
    raw = id_.encode()
    if not 1 <= len(raw) <= MAX_ID_BYTES or "\0" in id_:
        raise DecodeError(
            f"an id of {len(raw)} bytes{' with NUL' if chr(0) in id_ else ''}; wanted 1 to {MAX_ID_BYTES}, no NUL"
        )
    if raw != key:
        raise DecodeError(f"id {id_!r} is not the key of its record, {key!r:.80}")


def _merge(left: _Columns, right: _Columns) -> _Columns:
    if len(right.rows) == 0:
        return left
    rows = np.concatenate((left.rows, right.rows))
    order = np.argsort(rows)
    ids, metadata = left.ids + right.ids, left.metadata + right.metadata
    return _Columns(
        rows=rows[order],
        ids=[ids[i] for i in order],
        ops=np.concatenate((left.ops, right.ops))[order],
        vectors=np.concatenate((left.vectors, right.vectors))[order],
        metadata=[metadata[i] for i in order],
    )
