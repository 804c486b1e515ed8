"""Vectors as pgvector's ``vector_recv`` reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arrays import header

_CACHED_ROWS = 128  # of vectors that are turned before the next are read


def _vector_dtype(dimension: int) -> np.dtype[np.void]:
    """pgvector's binary format (``vector_recv``): int16 dimension, int16 unused, then big-endian float32."""
    return np.dtype([("dimension", ">i2"), ("unused", ">i2"), ("values", ">f4", (dimension,))])


def vector_array(vectors: NDArray[np.float32], order: NDArray[np.intp], vector_oid: int) -> memoryview:
    """``vector[]`` of the rows of float32 [n, d] in the order ``order``, packed in place: most of a batch's bytes."""
    n, dimension = vectors.shape
    size = _vector_dtype(dimension).itemsize
    row = np.dtype([("head", ">u8"), ("values", ">f4", (dimension,))])
    head = header(vector_oid, n)
    buffer = np.empty(len(head) + n * row.itemsize, dtype=np.uint8)
    buffer[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    packed = np.frombuffer(buffer, dtype=row, offset=len(head), count=n)
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
