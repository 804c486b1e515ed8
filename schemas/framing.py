"""Avro single-object encoding: ``C3 01``, the fingerprint of the writer's schema, then the record.

Source: Apache Avro 1.12 specification, "Single-object encoding"; the fingerprint is CRC-64-AVRO, little endian.
"""

from __future__ import annotations

from ..errors import DecodeError
from .collection import MAX_RECORD_BYTES

MAGIC = b"\xc3\x01"
HEADER_BYTES = len(MAGIC) + 8


def fingerprint_of(value: bytes | None) -> bytes:
    """The fingerprint that ``value`` carries; DecodeError when it is no such message, or too large to look at."""
    if value is None:
        raise DecodeError("a null value; deletes are events of their own here, not tombstones")
    if len(value) > MAX_RECORD_BYTES:
        raise DecodeError(f"{len(value)} bytes; the limit is {MAX_RECORD_BYTES}")
    if len(value) < HEADER_BYTES:
        raise DecodeError(f"{len(value)} bytes are too few for a header of {HEADER_BYTES}")
    if value[:2] != MAGIC:
        raise DecodeError(f"it starts with {value[:2].hex(' ')} instead of c3 01 (Avro single-object encoding)")
    return value[2:HEADER_BYTES]
