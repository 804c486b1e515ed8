"""Arrays as PostgreSQL's ``array_recv`` reads them: ids, numbers, metadata."""

from __future__ import annotations

import struct
from itertools import chain

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 256 * 1024 * 1024  # PostgreSQL takes a parameter of up to 1 GB, and builds more of it in memory

TEXT_OID = 25
INT2_OID = 21
INT8_OID = 20

_LENGTH = struct.Struct(">i")  # of an element of an array


def header(element_oid: int, n: int) -> bytes:
    """The head of an array without nulls in PostgreSQL's binary format (``array_recv``): one dimension, or none."""
    return struct.pack(">iiIii", 1, 0, element_oid, n, 1) if n else struct.pack(">iiI", 0, 0, element_oid)


def text_array(values: list[bytes] | list[str], order: NDArray[np.intp]) -> bytes:
    """``text[]`` of the values at ``order``; what is bytes is UTF-8."""
    texts = [value.encode() if isinstance(value, str) else value for value in values]
    ordered = [texts[row] for row in order.tolist()]
    lengths = map(_LENGTH.pack, map(len, ordered))
    return header(TEXT_OID, len(order)) + b"".join(chain.from_iterable(zip(lengths, ordered, strict=True)))


def int2_array(values: NDArray[np.int8]) -> bytes:
    """``smallint[]``."""
    packed = np.empty(len(values), dtype=[("bytes", ">i4"), ("value", ">i2")])
    packed["bytes"], packed["value"] = 2, values
    return header(INT2_OID, len(values)) + packed.tobytes()


def int8_array(values: NDArray[np.int64]) -> bytes:
    """``bigint[]``."""
    packed = np.empty(len(values), dtype=[("bytes", ">i4"), ("value", ">i8")])
    packed["bytes"], packed["value"] = 8, values
    return header(INT8_OID, len(values)) + packed.tobytes()
