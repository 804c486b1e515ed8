"""The types of the typed metadata columns, as publishers need them. Pure."""

from __future__ import annotations

import pyarrow as pa

from ...schemas.fields import Field, RowFields, integer
from .mapping import Layout


def fields_of(layout: Layout) -> RowFields:
    """The fields of a table. One JSON column keeps its text as it is, so it asks for nothing."""
    if layout.json:
        return RowFields(document=Field(kind="json", declared="JSON text"))
    return RowFields(metadata={field.name: _field(field.type) for field in layout.metadata})


def _field(type_: pa.DataType) -> Field:
    declared = str(type_)
    if pa.types.is_integer(type_):
        return integer(declared, type_.bit_width, signed=pa.types.is_signed_integer(type_))
    if pa.types.is_floating(type_):
        return Field(kind="float", declared=declared, bits=type_.bit_width)
    return Field(kind="bool" if pa.types.is_boolean(type_) else "text", declared=declared)
