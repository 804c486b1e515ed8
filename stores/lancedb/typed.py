"""Metadata that lies in several typed columns instead of one JSON column."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ...errors import Rejected


def kind_of(data_type: pa.DataType) -> type | None:
    """The kind of scalar a column holds: str, int, float or bool; None for a type that metadata cannot have."""
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        return str
    if pa.types.is_boolean(data_type):
        return bool
    if pa.types.is_integer(data_type) and not pa.types.is_uint64(data_type):
        return int
    if pa.types.is_float32(data_type) or pa.types.is_float64(data_type):
        return float
    return None


def to_columns(metadata: Sequence[bytes], fields: Sequence[pa.Field], exact: Set[str] = frozenset()) -> list[pa.Array]:
    """One array per field from n JSON objects (b"" stands for no metadata). Raises Rejected for what does not fit.

    A value that a field of ``exact`` would round does not fit it.
    """
    documents = [_parse(text) if text else {} for text in metadata]
    names = {field.name for field in fields}
    unknown = {key for document in documents for key, value in document.items() if value is not None} - names
    if unknown:
        raise Rejected(f"no column for metadata {sorted(unknown)}; the columns are {sorted(names)}")
    columns = {field.name: [document.get(field.name) for document in documents] for field in fields}
    for name in exact & columns.keys():
        if (rounded := next(filter(_is_rounded, columns[name]), None)) is not None:
            raise Rejected(f"metadata {name!r}: {rounded!r:.80} would be rounded by the column's type")
    return [_array(columns[field.name], field) for field in fields]


def to_json(table: pa.Table, names: Sequence[str]) -> list[bytes]:
    """n JSON objects from typed columns; a null is left out, which means the same as missing."""
    if not names:
        return [b"{}"] * table.num_rows
    columns = [table[name].to_pylist() for name in names]
    return [
        _dump({n: v for n, v in zip(names, row, strict=True) if v is not None}) for row in zip(*columns, strict=True)
    ]


def _is_rounded(value: object) -> bool:
    """Whether float32 does not hold ``value``."""
    with np.errstate(over="ignore"):
        return type(value) in (int, float) and float(np.float32(value)) != value  # type: ignore[arg-type]


def _parse(text: bytes) -> dict[str, Any]:
    """Each text on its own: joined, two broken ones could read as two others."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"metadata is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Rejected(f"metadata is a {type(document).__name__}, not an object")
    return document


def _array(values: list[object], field: pa.Field) -> pa.Array:
    kind = kind_of(field.type)
    for value in values:
        fits = value is None or type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            shown = f"a {type(value).__name__}" if isinstance(value, (list, dict)) else f"{value!r:.80}"
            raise Rejected(f"metadata {field.name!r}: {shown} does not fit the column's type {field.type}")
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise Rejected(f"metadata {field.name!r}: {error}") from error


def _dump(document: dict[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
