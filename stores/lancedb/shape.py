"""What the columns of a table were when it was enrolled. Pure.

Their types are kept as metadata of the column ``vecferry_position``: an event that does not fit a column which was cast
since is no fault of the event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

POSITION = "vecferry_position"
COLUMNS = "vecferry:columns"
_NARROWED = (str(pa.float64()), str(pa.float32()))


def shape_of(schema: pa.Schema, names: Sequence[str]) -> dict[str, str]:
    """Column -> its type, of those of ``names`` that the table has."""
    return {name: str(schema.field(name).type) for name in names if name in schema.names}


def remembered(schema: pa.Schema) -> dict[str, str]:
    """The shape at enrolment; {} where none is kept."""
    metadata = schema.field(POSITION).metadata if POSITION in schema.names else None
    kept = (metadata or {}).get(COLUMNS.encode())
    return {} if kept is None else {str(name): str(kind) for name, kind in json.loads(kept).items()}


def kept_as(shape: Mapping[str, str]) -> dict[str, str]:
    """The metadata of the field that keeps ``shape``."""
    return {COLUMNS: json.dumps(shape, ensure_ascii=False)}


def changes(schema: pa.Schema, names: Sequence[str]) -> Iterator[str]:
    """What an event that was right before may not fit any more; one phrase each."""
    before = remembered(schema)
    for name, kind in shape_of(schema, names).items():
        if before.get(name, kind) != kind:
            yield f"column {name!r} was {before[name]} and is {kind}"


def narrowed(schema: pa.Schema, names: Sequence[str]) -> frozenset[str]:
    """The columns that held float64 at enrolment and hold less: rounding into them would change events."""
    before = remembered(schema)
    return frozenset(name for name, kind in shape_of(schema, names).items() if (before.get(name), kind) == _NARROWED)
