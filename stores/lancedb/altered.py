"""Whether the table still is as the rows that are written to it must be.

Every batch is merged into the latest version, whose schema is read again if anybody else has committed: on an older one
Lance would write into a column that was dropped, without a word.
"""

from __future__ import annotations

import pyarrow as pa
from lancedb.table import LanceTable

from ...errors import Refused
from .check import schema_problems
from .mapping import DELETED, JSON, Layout
from .shape import POSITION, changes
from .table import Connection


def writable(connection: Connection) -> tuple[LanceTable, Layout]:
    """The table at its latest version, for the next merge, and its layout. Raises Refused when rows do not fit it."""
    table = connection.latest()
    version = table.version
    if not connection.unmoved(version):
        schema = table.schema
        if not connection.has_schema(schema):
            connection.forget_layout()
            refuse_altered(connection, [*_lost(schema, connection), *_unfit(schema, connection)])
        connection.saw(version, schema)
    return table, connection.layout()


def refuse_changed(connection: Connection) -> None:
    """Raise Refused when a column has another type than at enrolment: then a row that does not fit is not at fault."""
    names = (connection.placement.id, *connection.metadata_names())
    refuse_altered(connection, [*changes(connection.latest().schema, names)])


def refuse_altered(connection: Connection, found: list[str]) -> None:
    """Raise Refused with one line if anything was ``found``."""
    if found:
        raise Refused(
            f"{connection.where} was altered: {'; '.join(found)}; nothing was skipped: undo that, and start the worker "
            f"again (`vecferry enrol {connection.collection.name}` takes the table as it is)"
        )


def _lost(schema: pa.Schema, connection: Connection) -> list[str]:
    wanted = [POSITION, DELETED, *([JSON] if isinstance(connection.placement.metadata, str) else [])]
    if not set(wanted) & set(schema.names):
        raise Refused(f"{connection.where} is not enrolled; run `vecferry enrol {connection.collection.name}`")
    return [f"column {name!r} is gone" for name in wanted if name not in schema.names]


def _unfit(schema: pa.Schema, connection: Connection) -> list[str]:
    if found := schema_problems(schema, connection):
        return found
    names = (connection.placement.vector, *connection.metadata_names())  # deleted ids have neither
    return [f"column {name!r} is not null" for name in names if not schema.field(name).nullable]
