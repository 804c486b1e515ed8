"""Rows of a binary COPY, decoded column by column."""

from __future__ import annotations

import numpy as np

from ....errors import Fatal
from ....schemas.batch import Rows

_HEADER_BYTES = 19  # signature, flags, length of the (empty) header extension
_TRAILER = b"\xff\xff"
_NO_VECTOR = "a row holds no vector of {} dimensions; it was not written by vecferry: publish its right state again"


def decode_copy(messages: list[bytes], dimension: int) -> Rows:
    """The rows (bigint, vector, text, text) of a binary COPY, one message each; raises Fatal for anything else."""
    fixed = np.dtype(
        [
            *(("fields", ">i2"), ("bytes_8", ">i4"), ("position", ">i8"), ("bytes_v", ">i4"), ("dimension", ">i2")),
            *(("unused", ">i2"), ("vector", ">f4", (dimension,)), ("id_bytes", ">i4")),
        ]
    )
    size = fixed.itemsize
    # The first message begins with the header; the trailer comes as a message of its own, or right after the header.
    rows = [message for message in (messages[0][_HEADER_BYTES:], *messages[1:]) if message != _TRAILER]
    if any(len(row) < size for row in rows):
        raise Fatal(_NO_VECTOR.format(dimension))
    table = np.frombuffer(b"".join([row[:size] for row in rows]), dtype=fixed)
    if len(table) and (
        np.any(table["fields"] != 4)
        | np.any(table["bytes_v"] != 4 + 4 * dimension)
        | np.any(table["dimension"] != dimension)
    ):
        raise Fatal(_NO_VECTOR.format(dimension))
    ids, metadata = [], []
    for row, id_bytes in zip(rows, table["id_bytes"].tolist(), strict=True):
        end = size + id_bytes
        ids.append(row[size:end].decode())
        start = end + 4
        metadata.append(row[start : start + int.from_bytes(row[end:start], "big")])
    return Rows(
        ids=ids,
        positions=table["position"].astype(np.int64),
        deleted=np.zeros(len(rows), dtype=np.bool_),
        vectors=table["vector"].astype(np.float32, order="C").reshape(len(rows), dimension),
        metadata=metadata,
    )
