"""Why a table cannot be enrolled or used."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
from lancedb.table import LanceTable

from ...schemas.collection import MAX_METADATA_DEPTH
from ...schemas.columns import are_shallow
from .conditions import column
from .mapping import DELETED, JSON, LIVE, missing_columns
from .shape import POSITION
from .table import Connection
from .typed import kind_of

ROWS_PER_PAGE = 10_000
_KEY = b"lance-schema:unenforced-primary-key"
_NOT_IN_NAMES = frozenset('.`"')
_TYPED_NEEDS_TABLE = "make it with its typed metadata columns, or name one JSON column"


def problems(connection: Connection) -> tuple[str, ...]:
    """One line per problem, with the remedy. Reads ids and metadata once if the table is not enrolled yet."""
    names = (connection.placement.id, connection.placement.vector, *connection.metadata_names())
    if unfit := [name for name in names if set(name) & _NOT_IN_NAMES]:
        return (f"{connection.where}: Lance's filters cannot name {unfit}; use names without a dot or a quote",)
    table = connection.find()
    if table is None:
        return (
            ()
            if isinstance(connection.placement.metadata, str)
            else (f"{connection.where} does not exist; {_TYPED_NEEDS_TABLE}",)
        )
    found = schema_problems(table.schema, connection)
    if not found:
        found = _content_problems(table, connection)
    return tuple(f"{connection.where}: {problem}" for problem in found)


def is_key(field: pa.Field) -> bool:
    """True for a column of the table's unenforced primary key."""
    return any(name.startswith(_KEY) for name in field.metadata or {})


def schema_problems(schema: pa.Schema, connection: Connection) -> list[str]:
    """Why the columns of a table do not fit the placement; one line each, with the remedy."""
    placement = connection.placement
    missing = {placement.id, placement.vector, *connection.metadata_names()} - set(schema.names)
    if missing:
        return [missing_columns(missing, schema.names)]
    found = [*_vector_problems(schema.field(placement.vector), connection.collection.space.dimension)]
    if kind_of(schema.field(placement.id).type) is not str:
        found.append(f"id {placement.id!r} is {schema.field(placement.id).type}, not string; copy it to a text column")
    keys = [field.name for field in schema if is_key(field)]
    if keys not in ([], [placement.id]):
        found.append(f"its primary key is {keys}, not [{placement.id!r}]; name that column as id")
    found += _metadata_problems(schema, connection)
    ours = {placement.id, placement.vector, POSITION, DELETED, JSON, *connection.metadata_names()}
    found += [
        f"column {field.name!r} is not null and not part of the placement; make it nullable: "
        f"table.alter_columns({{'path': {field.name!r}, 'nullable': True}})"
        for field in schema
        if not field.nullable and field.name not in ours
    ]
    return found


def _vector_problems(field: pa.Field, dimension: int) -> list[str]:
    if not (pa.types.is_fixed_size_list(field.type) and pa.types.is_float32(field.type.value_type)):
        return [f"vector {field.name!r} is {field.type}, not fixed_size_list<float>; copy it to a float32 column"]
    if field.type.list_size != dimension:
        return [f"vector {field.name!r} has {field.type.list_size} dimensions, the collection {dimension}; correct one"]
    return []


def _metadata_problems(schema: pa.Schema, connection: Connection) -> list[str]:
    if isinstance(connection.placement.metadata, str):
        field = schema.field(connection.placement.metadata)
        if kind_of(field.type) is str:
            return []
        return [f"metadata {field.name!r} is {field.type}, not text; to map typed columns, name them in a list"]
    fields = [schema.field(name) for name in connection.placement.metadata]
    return [
        f"metadata {field.name!r} is {field.type}; leave it out, or copy it to a text, number or boolean column"
        for field in fields
        if kind_of(field.type) is None
    ]


def _content_problems(table: LanceTable, connection: Connection) -> list[str]:
    placement = connection.placement
    enrolled = DELETED in table.schema.names
    live = LIVE if enrolled else "true"
    found = []
    if nulls := table.count_rows(f"{column(placement.vector)} IS NULL AND {live}"):
        found.append(f"{nulls} rows have no vector; fill them in, or name a table of the rows that have one")
    if enrolled and is_key(table.schema.field(placement.id)):
        return found
    ids = table.search().select([placement.id]).limit(None).to_arrow()[placement.id]
    if ids.null_count:
        found.append(f"{ids.null_count} rows have no id; give them one")
    if twice := [id_ for id_, n in Counter(ids.drop_null().to_pylist()).items() if n > 1]:
        found.append(f"{len(twice)} ids appear more than once ({twice[:3]}); give each row an id of its own")
    if pc.any(pc.match_substring(ids, "\x00")).as_py():
        found.append("an id contains NUL, which is reserved for the ledger; rename it")
    if isinstance(placement.metadata, str):
        found += _json_problems(table, placement.id, placement.metadata)
    return found


def _json_problems(table: LanceTable, id_name: str, metadata: str) -> list[str]:
    broken = []
    for page in table.search().select([id_name, metadata]).limit(None).to_batches(batch_size=ROWS_PER_PAGE):
        for id_, value in zip(page.column(id_name).to_pylist(), page.column(metadata).to_pylist(), strict=True):
            if value is not None and not _is_object(value):
                broken.append(id_)
    what = f"no JSON object, or one nested deeper than {MAX_METADATA_DEPTH} levels,"
    return [f"{len(broken)} rows hold {what} in {metadata!r} ({broken[:3]}); correct them"] if broken else []


def _is_object(value: str) -> bool:
    if not are_shallow([value.encode()], MAX_METADATA_DEPTH + 1).all():
        return False  # the parsers recurse: Lance's would end the process
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False
