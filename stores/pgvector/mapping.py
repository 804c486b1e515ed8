"""Pure conversions between columnar batches and PostgreSQL: names, ids, binary arrays, metrics."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, Rejected
from ...schemas.collection import IdType, Metric

POSITION = "vecferry_position"
COMPANIONS = ("deleted", "partitions", "snapshots")
MAX_IDENTIFIER_BYTES = 63  # PostgreSQL cuts longer names without a word
MAX_HNSW_DIMENSION = 2000  # pgvector: a vector column of more dimensions cannot have an HNSW index

TEXT_OID = 25
INT2_OID = 21
INT8_OID = 20

_NAME_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_LENGTH = struct.Struct(">i")  # of an element of an array
_CACHED_ROWS = 128  # of vectors that are turned before the next are read
_BIGINT = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LONGEST_SUFFIX = len("_vecferry_partitions")


def table_parts(table: str) -> tuple[str, ...]:
    """``products`` → 1 part, ``public.products`` → 2; a part in double quotes may hold dots. Raises ConfigError."""
    parts, end = [], 0
    while True:
        match = _NAME_PART.match(table, end)
        if match is None:
            raise ConfigError(f'table {table!r} is not a name; write products, public.products or "my.schema".products')
        quoted, plain = match.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        if match.end() == len(table):
            break
        if table[match.end()] != ".":
            raise ConfigError(f"table {table!r} has text after a quoted name")
        end = match.end() + 1
    if len(parts) > 2:
        raise ConfigError(f"table {table!r} has {len(parts)} parts; PostgreSQL knows schema.table")
    return tuple(parts)


def companion(table: str, suffix: str) -> str:
    """``<table>_vecferry_<suffix>``; a long table name is cut and told apart by a hash, so that all suffixes fit."""
    stem = table
    if len(table.encode()) > MAX_IDENTIFIER_BYTES - _LONGEST_SUFFIX:
        digest = hashlib.sha256(table.encode()).hexdigest()[:8]
        stem = f"{table.encode()[: MAX_IDENTIFIER_BYTES - _LONGEST_SUFFIX - 9].decode(errors='ignore')}_{digest}"
    return f"{stem}_vecferry_{suffix}"


def is_canonical(id_: str, id_type: IdType) -> bool:
    """Whether PostgreSQL gives ``id_`` back as the very same text: ``007`` is no bigint, ``A0EE…`` no uuid of ours."""
    match id_type:
        case "text":
            return _is_utf8_without_nul(id_)
        case "bigint":
            return _BIGINT.fullmatch(id_) is not None and -(2**63) <= int(id_) < 2**63
        case "uuid":
            try:
                return str(UUID(id_)) == id_
            except ValueError:
                return False


def _is_utf8_without_nul(id_: str) -> bool:
    try:
        return b"\0" not in id_.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False


def check_ids(ids: Sequence[str], id_type: IdType, max_chars: int | None) -> None:
    """Raises Rejected for an id that the column cannot give back as the same text."""
    # Canonical texts need no look at each of them: all can be encoded, and none holds a NUL.
    if id_type != "text" or not _is_utf8_without_nul("".join(ids)):
        for id_ in ids:
            if not is_canonical(id_, id_type):
                raise Rejected(f"id {id_!r} is not a canonical {id_type} of PostgreSQL")
    # A longer one would fail anyway, except that PostgreSQL silently cuts trailing spaces to make it fit.
    if max_chars is not None and ids and len(longest := max(ids, key=len)) > max_chars:
        raise Rejected(f"id {longest!r} is longer than the id column, which holds {max_chars} characters")


def _header(element_oid: int, n: int) -> bytes:
    """The head of an array without nulls in PostgreSQL's binary format (``array_recv``): one dimension, or none."""
    return struct.pack(">iiIii", 1, 0, element_oid, n, 1) if n else struct.pack(">iiI", 0, 0, element_oid)


def text_array(values: list[bytes] | list[str], order: NDArray[np.intp]) -> bytes:
    """``text[]`` of the values at ``order``; what is bytes is UTF-8."""
    texts = [value.encode() if isinstance(value, str) else value for value in values]
    ordered = [texts[row] for row in order.tolist()]
    lengths = map(_LENGTH.pack, map(len, ordered))
    return _header(TEXT_OID, len(order)) + b"".join(chain.from_iterable(zip(lengths, ordered, strict=True)))


def int2_array(values: NDArray[np.int8]) -> bytes:
    """``smallint[]``."""
    packed = np.empty(len(values), dtype=[("bytes", ">i4"), ("value", ">i2")])
    packed["bytes"], packed["value"] = 2, values
    return _header(INT2_OID, len(values)) + packed.tobytes()


def int8_array(values: NDArray[np.int64]) -> bytes:
    """``bigint[]``."""
    packed = np.empty(len(values), dtype=[("bytes", ">i4"), ("value", ">i8")])
    packed["bytes"], packed["value"] = 8, values
    return _header(INT8_OID, len(values)) + packed.tobytes()


def _vector_dtype(dimension: int) -> np.dtype[np.void]:
    """pgvector's binary format (``vector_recv``): int16 dimension, int16 unused, then big-endian float32."""
    return np.dtype([("dimension", ">i2"), ("unused", ">i2"), ("values", ">f4", (dimension,))])


def vector_array(vectors: NDArray[np.float32], order: NDArray[np.intp], vector_oid: int) -> memoryview:
    """``vector[]`` of the rows of float32 [n, d] in the order ``order``, packed in place: most of a batch's bytes."""
    n, dimension = vectors.shape
    size = _vector_dtype(dimension).itemsize
    row = np.dtype([("head", ">u8"), ("values", ">f4", (dimension,))])
    header = _header(vector_oid, n)
    buffer = np.empty(len(header) + n * row.itemsize, dtype=np.uint8)
    buffer[: len(header)] = np.frombuffer(header, dtype=np.uint8)
    packed = np.frombuffer(buffer, dtype=row, offset=len(header), count=n)
    packed["head"] = size << 32 | dimension << 16  # the size of the element, and what its vector begins with
    place = np.empty(n, np.intp)
    place[order] = np.arange(n)
    for at in range(0, n, _CACHED_ROWS):  # read as they lie in memory: these are seldom in the processor's caches
        packed["values"][place[at : at + _CACHED_ROWS]] = vectors[at : at + _CACHED_ROWS]
    return buffer.data


def vector_value(vector: NDArray[np.float32]) -> bytes:
    """One ``vector``."""
    packed = np.zeros(1, dtype=_vector_dtype(len(vector)))
    packed["dimension"], packed["values"] = len(vector), vector
    return packed.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSql:
    """``distance`` operator, ``opclass`` of its index, and ``score`` as an expression of the distance {0}."""

    distance: str
    opclass: str
    score: str


METRICS: dict[Metric, MetricSql] = {
    "cosine": MetricSql(distance="<=>", opclass="vector_cosine_ops", score="1 - ({})"),
    "dot": MetricSql(distance="<#>", opclass="vector_ip_ops", score="- ({})"),  # <#> is minus the inner product
    "l2": MetricSql(distance="<->", opclass="vector_l2_ops", score="- ({})"),
}
