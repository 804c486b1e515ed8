"""A table that somebody alters while a worker writes into it: no event is at fault, and none is cast to another type.

lancedb casts rows to the schema that its handle sees, and Lance drops what has no column any more. So each batch begins
with a look at the latest schema (``Connection.current_layout``). The types of typed columns at their enrolment are kept
with the column of positions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import Refused, Rejected
from ...schemas.batch import EventBatch, Mark
from .apply import apply
from .errors import translated
from .mapping import POSITION
from .table import Connection

KEY = "vecferry:columns"


def apply_as_it_is(connection: Connection, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
    """``apply`` to the table as it is by now. Raises Refused, one line, when right events no longer fit it."""
    try:
        with translated(connection.where):
            return apply(connection, batch, marks)
    except Refused as refused:
        raise Refused(
            f"{'; '.join(refused.problems)}; none was skipped: undo what was altered, and start the worker again"
        ) from refused
    except Rejected as error:
        changed = _changes(connection)
        if not changed:
            raise
        name = connection.collection.name
        raise Refused(
            f"{connection.where} was altered after its enrolment, and events no longer fit it: {'; '.join(changed)}; "
            f"none was skipped: undo that, or run `vecferry enrol {name}` to have a dead letter of each event that "
            "does not fit; then start the worker again"
        ) from error


def types_of(schema: pa.Schema, connection: Connection) -> dict[str, str]:
    """The types of typed metadata columns; {} for one JSON column, which takes any metadata."""
    names = () if isinstance(connection.placement.metadata, str) else connection.placement.metadata
    return {name: str(schema.field(name).type) for name in names}


def remembered(schema: pa.Schema) -> Mapping[str, str] | None:
    """``types_of`` at the enrolment; None: not enrolled, or by a version that did not keep them."""
    metadata = (schema.field(POSITION).metadata if POSITION in schema.names else None) or {}
    try:
        kept: dict[str, str] = json.loads(metadata.get(KEY.encode(), b""))
    except ValueError:
        return None
    return kept


def remember(types: Mapping[str, str]) -> dict[str, object]:
    """What ``update_field_metadata`` is given."""
    return {"path": POSITION, "metadata": {KEY: json.dumps(types)}}


def _changes(connection: Connection) -> list[str]:
    schema = connection.latest().schema
    before = remembered(schema) or {}
    now = types_of(schema, connection)
    return [
        f"column {name} was {before[name]} and is {now[name]}"
        for name in now
        if before.get(name, now[name]) != now[name]
    ]
