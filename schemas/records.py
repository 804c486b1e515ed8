"""Decoding one record of any known writer schema: general and strict; slower than the columnar ``decode``.

fastavro resolves the writer's schema to the reader's. It trusts its input more than a consumer may: a union or enum
index of -1 selects the last entry, and bytes after the record are ignored. So this walks the bytes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError

from ..errors import DecodeError
from .avro import read_bytes, read_long, read_text
from .definitions import Definition, Schema
from .framing import HEADER_BYTES, fingerprint_of

_FIXED_BYTES = {"null": 0, "float": 4, "double": 8}


def writer_of(value: bytes | None, writers: Mapping[bytes, Definition]) -> Definition:
    """The definition that ``value`` was written with; DecodeError when it carries none of ``writers``."""
    fingerprint = fingerprint_of(value)
    writer = writers.get(fingerprint)
    if writer is None:
        raise DecodeError(f"schema fingerprint {fingerprint.hex()} is not known to this version")
    return writer


def decode_record(value: bytes, writer: Definition, reader: Definition) -> dict[str, Any]:
    """The record in ``value`` as ``reader`` sees it; DecodeError unless it is exactly one record of ``writer``."""
    end = _end_of(writer.schema, writer.named, value, HEADER_BYTES)
    if end != len(value):
        raise DecodeError(f"{len(value) - end} bytes left behind the record")
    try:
        record = fastavro.schemaless_reader(BytesIO(value[HEADER_BYTES:]), writer.schema, reader.schema)
    except (SchemaResolutionError, EOFError, ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        raise DecodeError(f"the record does not fit the reader's schema: {error!r}") from error
    if not isinstance(record, dict):
        raise DecodeError(f"the record is a {type(record).__name__}")
    return record


def _end_of(schema: Schema, named: Mapping[str, Schema], data: bytes, at: int) -> int:
    """Where the value of ``schema`` at ``at`` ends; DecodeError when it does not end inside ``data``."""
    match schema:
        case list():
            index, at = read_long(data, at)
            return _end_of(schema[_index("union", index, len(schema))], named, data, at)
        case {"type": "record", "fields": fields}:
            for field in fields:
                at = _end_of(field["type"], named, data, at)
            return at
        case {"type": "enum", "symbols": symbols}:
            index, at = read_long(data, at)
            _index("enum", index, len(symbols))
            return at
        case {"type": "fixed", "size": size}:
            return _skip(data, at, int(size))
        case {"type": "array", "items": items}:
            return _end_of_blocks((items,), named, data, at)
        case {"type": "map", "values": values}:
            return _end_of_blocks(("string", values), named, data, at)
        case {"type": inner}:
            return _end_of(inner, named, data, at)
    return _end_of(named[schema], named, data, at) if schema in named else _end_of_primitive(schema, data, at)


def _end_of_primitive(name: str, data: bytes, at: int) -> int:
    if name in _FIXED_BYTES:
        return _skip(data, at, _FIXED_BYTES[name])
    match name:
        case "boolean":
            end = _skip(data, at, 1)
            _index("boolean", data[at], 2)
            return end
        case "bytes":
            return read_bytes(data, at)[1]
        case "string":
            return read_text(data, at)[1]
    value, end = read_long(data, at)
    if name == "int" and not -(2**31) <= value < 2**31:
        raise DecodeError(f"an int of {value} is wider than 32 bits, at byte {at}")
    return end


def _end_of_blocks(items: tuple[Schema, ...], named: Mapping[str, Schema], data: bytes, at: int) -> int:
    while True:
        count, at = read_long(data, at)
        if count == 0:
            return at
        announced = None
        if count < 0:
            size, at = read_long(data, at)
            count, announced = -count, at + size
        if items[0] in _FIXED_BYTES and len(items) == 1:
            at = _skip(data, at, count * _FIXED_BYTES[items[0]])
        else:
            for _ in range(count):  # ends at the latest with the data: no item takes zero bytes
                for item in items:
                    at = _end_of(item, named, data, at)
        if announced is not None and announced != at:
            raise DecodeError(f"a block announced to end at byte {announced} ends at byte {at}")


def _skip(data: bytes, at: int, size: int) -> int:
    if size > len(data) - at:
        raise DecodeError(f"{size} bytes wanted with {len(data) - at} left, at byte {at}")
    return at + size


def _index(what: str, index: int, size: int) -> int:
    if not 0 <= index < size:
        raise DecodeError(f"{what} index {index} of {size}")
    return index
