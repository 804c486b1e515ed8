"""Messages of a snapshot topic: blocks of rows of one live partition, and the markers that close chunks and runs.

A block is one message with many rows, column by column. So the Kafka client costs less per row, and positions and
vectors are sent as they are in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError, InvalidRecord
from .avro import encode_long, encode_size, encode_strings, read_bytes, read_long, read_strings, read_text, read_view
from .batch import EventBatch, Op, Rows
from .codec import encode_space, little_endian
from .collection import MAX_METADATA_DEPTH, MAX_RECORD_BYTES, Collection
from .columns import all_finite, are_ids, are_shallow, are_utf8, decode_ids, lengths
from .decode import check_space
from .definitions import Definition, current, writers
from .framing import HEADER_BYTES, MAGIC
from .records import decode_record, writer_of

RUN_CLOSED = -1  # the chunk number of the marker that closes a whole run
_DIGEST_MODULUS = 2**63
_POSITION_LIMIT = 2**53
_SLACK_BYTES = 64  # counts, lengths and numbers of one block, generously
_HEAD_BYTES = 256  # header, run, chunk and generation, generously
_MARKERS = writers("snapshot_marker")
_ROW_OVERHEAD_BYTES = 8 + 5 + 5  # a position and the lengths of an id and of metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBlock:
    """One snapshot message of ``rows`` rows. Kafka gets ``value`` as it is; ``digest`` goes into the closing marker."""

    value: bytes
    rows: int
    digest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBlock:
    """A decoded block. ``events`` are its rows with Op.SNAPSHOT; ``digest`` is that of the message.

    The vectors of ``events`` are views into the message and rarely aligned; ``EventBatch.joined`` copies them.
    """

    run: str
    chunk: int
    generation: int
    digest: int
    events: EventBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMarker:
    """Closes ``chunk`` of a run in one partition, or the run itself when ``chunk`` is RUN_CLOSED.

    ``rows`` and ``digest`` (see :func:`add_digests`) are what a consumer must have counted by then; ``chunks`` is the
    number of chunks of the run.
    """

    run: str
    chunk: int
    generation: int
    rows: int
    digest: int
    chunks: int


def add_digests(left: int, right: int) -> int:
    """The digest of two sets of blocks together: a sum modulo 2^63, so the order of blocks does not matter."""
    return (left + right) % _DIGEST_MODULUS


def encode_snapshot_blocks(
    collection: Collection,
    *,
    run: str,
    chunk: int,
    generation: int,
    rows: Rows,
    more: bool = False,
    max_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[EncodedBlock]:
    """The live ``rows`` of one partition as messages of at most ``max_bytes`` each, in order; none for no rows.

    With ``more`` to come, the last message is left out: its rows, with what follows, may fill it. Raises InvalidRecord
    for a row that cannot be carried: larger than a message alone, a vector that is not finite, an id with NUL, text
    that is not UTF-8, metadata nested too deep.
    """
    head = MAGIC + current("snapshot_block").fingerprint + encode_space(collection.space)
    head += b"".join((_text(run), encode_long(chunk), encode_long(generation)))
    vectors = little_endian(rows.vectors)
    positions = np.ascontiguousarray(rows.positions, "<i8")
    ids = [id_.encode() for id_ in rows.ids]
    _check_rows(ids, rows)
    sizes = _sizes(ids, rows.metadata, collection)
    room = max_bytes - len(head) - _SLACK_BYTES
    totals = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    start = 0
    while start < len(ids) and not (more and totals[-1] - totals[start] <= room):
        end = int(np.searchsorted(totals, totals[start] + room, side="right")) - 1
        if end == start:
            problem = f"row {rows.ids[start]!r} takes {sizes[start]} bytes; a message holds {room}"
            raise InvalidRecord(
                "metadata", problem, "shorten the row's metadata, or raise max.message.bytes of the topic"
            )
        columns: tuple[Any, ...] = (  # bytes, and two other buffers: one copy of each
            head,
            encode_size(8 * (end - start)),
            positions[start:end],
            encode_strings(ids[start:end]),
            encode_strings(rows.metadata[start:end]),
            encode_size(4 * collection.space.dimension * (end - start)),
            vectors[start:end],
        )
        value = b"".join(columns)
        yield EncodedBlock(value=value, rows=end - start, digest=zlib.crc32(value))
        start = end


def row_bytes(collection: Collection) -> int:
    """How many bytes of a message a row takes at most, without its id and its metadata."""
    return 4 * collection.space.dimension + _ROW_OVERHEAD_BYTES


def row_sizes(rows: Rows, collection: Collection) -> NDArray[np.int64]:
    """How many bytes of a message each of ``rows`` takes at most."""
    return _sizes([id_.encode(errors="replace") for id_ in rows.ids], rows.metadata, collection)


def largest_row(collection: Collection, max_bytes: int) -> int:
    """The most bytes of a row (see :func:`row_sizes`) that fit into a message of ``max_bytes``, of any run."""
    return max_bytes - len(encode_space(collection.space)) - _SLACK_BYTES - _HEAD_BYTES


def encode_row(collection: Collection, events: EventBatch, row: int, *, run: str, chunk: int, generation: int) -> bytes:
    """One row of decoded blocks as a block of its own: what a dead letter of that row keeps."""
    event = events.take(np.array([row], np.intp))
    rows = Rows(
        ids=event.ids,
        positions=event.positions,
        deleted=np.zeros(1, np.bool_),
        vectors=event.vectors,
        metadata=event.metadata,
    )
    return next(encode_snapshot_blocks(collection, run=run, chunk=chunk, generation=generation, rows=rows)).value


def encode_snapshot_marker(marker: SnapshotMarker) -> bytes:
    """A marker as a message."""
    numbers = (marker.chunk, marker.generation, marker.rows, marker.digest, marker.chunks)
    return b"".join((MAGIC, current("snapshot_marker").fingerprint, _text(marker.run), *map(encode_long, numbers)))


def closes_run(value: bytes | None) -> bool:
    """Whether a message of a snapshot topic is the marker that closes the run in its partition."""
    writer = None if value is None else _MARKERS.get(value[len(MAGIC) : HEADER_BYTES])
    if value is None or writer is None:
        return False
    try:
        return _marker(decode_record(value, writer, current("snapshot_marker"))).chunk == RUN_CLOSED
    except DecodeError:
        return False  # what is wrong with it is said by who decodes it


class SnapshotDecoder:
    """Decodes the messages of snapshot topics of one collection. Thread-safe."""

    def __init__(self, collection: Collection) -> None:
        self._space = collection.space
        self._prefix = encode_space(collection.space)
        self._block = current("snapshot_block")
        self._marker = current("snapshot_marker")
        self._markers = writers("snapshot_marker")
        self._writers = {**writers("snapshot_block"), **self._markers}

    def decode(self, value: bytes | None, partition: int) -> SnapshotBlock | SnapshotMarker:
        """Decode one message of snapshot partition ``partition``; DecodeError says what is wrong with it."""
        writer = writer_of(value, self._writers)
        assert value is not None  # writer_of refuses a null value
        if writer.fingerprint in self._markers:
            return _marker(decode_record(value, writer, self._marker))
        fields = self._read_block(value, writer)
        return self._checked(fields, zlib.crc32(value), partition)

    def _read_block(self, value: bytes, writer: Definition) -> _Fields:
        if writer.fingerprint == self._block.fingerprint and value.startswith(self._prefix, HEADER_BYTES):
            return _read_fields(value, HEADER_BYTES + len(self._prefix))
        record = decode_record(value, writer, self._block)
        check_space(record["space"], self._space)
        return _Fields(
            run=record["run"],
            chunk=record["chunk"],
            generation=record["generation"],
            positions=record["positions"],
            ids=[id_.encode() for id_ in record["ids"]],
            metadata=[text.encode() for text in record["metadata"]],
            vectors=record["vectors"],
        )

    def _checked(self, fields: _Fields, digest: int, partition: int) -> SnapshotBlock:
        n, d = len(fields.ids), self._space.dimension
        found = (len(fields.positions), len(fields.metadata), len(fields.vectors))
        if found != (8 * n, n, 4 * n * d):
            raise DecodeError(
                f"{n} ids with {found[0]} bytes of positions, {found[1]} metadata, {found[2]} bytes of vectors"
            )
        if not are_ids(fields.ids).all() or not all(fields.ids):
            raise DecodeError("an id that is empty, not UTF-8 or holds NUL")
        if not are_utf8(fields.metadata).all():
            raise DecodeError("metadata that is not UTF-8")
        if not are_shallow(fields.metadata, MAX_METADATA_DEPTH + 1).all():
            raise DecodeError(f"metadata that is nested deeper than {MAX_METADATA_DEPTH} levels")
        positions = np.frombuffer(fields.positions, "<i8").astype(np.int64)
        if n and not (positions.min() > 0 and positions.max() < _POSITION_LIMIT):
            raise DecodeError(f"positions from {positions.min()} to {positions.max()}")
        vectors = np.frombuffer(fields.vectors, "<f4").astype(np.float32, copy=False).reshape(n, d)
        if not all_finite(vectors).all():
            raise DecodeError("a vector that is not finite")
        events = EventBatch(
            ids=decode_ids(fields.ids),
            ops=np.full(n, Op.SNAPSHOT, np.int8),
            partitions=np.full(n, partition, np.int32),
            positions=positions,
            vectors=vectors,
            metadata=fields.metadata,
        )
        return SnapshotBlock(
            run=fields.run, chunk=fields.chunk, generation=fields.generation, digest=digest, events=events
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    run: str
    chunk: int
    generation: int
    positions: bytes
    ids: list[bytes]
    metadata: list[bytes]
    vectors: bytes | memoryview


def _read_fields(value: bytes, at: int) -> _Fields:
    run, at = read_text(value, at)
    chunk, at = read_long(value, at)
    generation, at = read_long(value, at)
    positions, at = read_bytes(value, at)
    ids, at = read_strings(value, at)
    metadata, at = read_strings(value, at)
    vectors, at = read_view(value, at)
    if at != len(value):
        raise DecodeError(f"{len(value) - at} bytes left behind the record")
    return _Fields(
        run=run, chunk=chunk, generation=generation, positions=positions, ids=ids, metadata=metadata, vectors=vectors
    )


def _marker(record: dict[str, object]) -> SnapshotMarker:
    return SnapshotMarker(**record)  # type: ignore[arg-type]  # decode_record: exactly the fields of the .avsc


def _sizes(ids: list[bytes], metadata: list[bytes], collection: Collection) -> NDArray[np.int64]:
    return row_bytes(collection) + lengths(ids) + lengths(metadata)


def _check_rows(ids: list[bytes], rows: Rows) -> None:
    def first(bad: NDArray[np.bool_]) -> str:
        return repr(rows.ids[int(np.flatnonzero(bad)[0])])

    finite = all_finite(rows.vectors)
    if not finite.all():
        raise InvalidRecord("vector", f"row {first(~finite)} is not finite", "publish the right state of the row")
    usable = are_ids(ids) & np.fromiter(map(bool, ids), np.bool_, len(ids))
    if not usable.all():
        raise InvalidRecord(
            "id", f"{first(~usable)} is empty or holds NUL", "give the row an id that an event can carry"
        )
    texts = are_utf8(rows.metadata)
    if not texts.all():
        raise InvalidRecord(
            "metadata", f"that of row {first(~texts)} is not UTF-8", "publish the right state of the row"
        )
    shallow = are_shallow(rows.metadata, MAX_METADATA_DEPTH + 1)
    if not shallow.all():
        problem = f"that of row {first(~shallow)} is nested deeper than {MAX_METADATA_DEPTH} levels"
        raise InvalidRecord("metadata", problem, "publish it with fewer levels")


def _text(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(data: bytes) -> bytes:
    return encode_size(len(data)) + data
