"""Why a placement cannot be used, by what the catalogue says: one line per problem, with the remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...schemas.collection import MAX_ID_BYTES, Collection, Placement
from .catalog import Column, Server, Table
from .layout import Layout, quote
from .mapping import POSITION

ID_TYPES = {"text": "text", "varchar": "text", "int8": "bigint", "uuid": "uuid"}

# Types whose values survive JSON unchanged; the guarded statement checks every value again.
METADATA_TYPES = frozenset(
    {"text", "varchar", "int2", "int4", "int8", "float8", "bool", "jsonb", "json"}
    | {"numeric", "uuid", "date", "timestamptz", "_text"}
)

_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}


def server_problems(server: Server) -> Iterator[str]:
    """What is wrong with the database itself."""
    if server.vector_oid is None:
        yield "the extension vector is absent; run CREATE EXTENSION vector in this database"
    if server.encoding != "UTF8":
        yield f"the database is encoded in {server.encoding}; use a database with ENCODING 'UTF8'"
    if server.in_recovery:
        yield "the server is a read-only replica, which may lag; use the url of the primary"


def new_table_problems(server: Server, placement: Placement) -> Iterator[str]:
    """Why a table that does not exist cannot be created."""
    if server.schema is None and "." not in placement.table:
        yield "no schema of the search path exists; write the table as schema.table"
    if not isinstance(placement.metadata, str):
        yield (
            f"table {placement.table} does not exist and the types of its metadata columns are not known; "
            "create it first, or name one JSON column"
        )


def table_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    """What is wrong with an existing table."""
    where = f"{table.schema}.{table.name}"
    if table.kind != "r":
        yield f"{where} is {_KINDS.get(table.kind, 'not a table')}; use an ordinary table"
        return
    yield from _table_traits(table, where)
    yield from _id_problems(table, collection, placement)
    yield from _vector_problems(table, collection, placement)
    yield from _metadata_problems(table, placement)
    yield from _other_column_problems(table, placement)


def row_checks(layout: Layout, *, nullable_vector: bool) -> tuple[str, tuple[str, ...]]:
    """A statement that reads the table once, and the problem that each of its boolean columns reports when true."""
    checks = {
        "t.{id} IS NOT NULL AND octet_length(t.{id}::text) NOT BETWEEN 1 AND {max_id}": (
            f"some ids are empty or longer than {MAX_ID_BYTES} bytes; shorten or delete them"
        )
    }
    if nullable_vector:
        checks["t.{vector} IS NULL"] = "some rows have no vector; delete them, or move them to a table of their own"
    if layout.json is not None:
        checks["jsonb_typeof(t.{json}::jsonb) <> 'object'"] = (
            f"some values of {layout.json.name} are not JSON objects; UPDATE them to objects"
        )
    names = {
        "id": layout.id,
        "vector": layout.vector,
        "json": "" if layout.json is None else quote(layout.json.name),
        "max_id": MAX_ID_BYTES,
    }
    wanted = ", ".join(f"coalesce(bool_or({check.format(**names)}), false)" for check in checks)
    return f"SELECT {wanted} FROM {layout.table} t", tuple(checks.values())


def _table_traits(table: Table, where: str) -> Iterator[str]:
    if table.persistence != "p":
        yield f"{where} is unlogged or temporary and loses rows in a crash; ALTER TABLE … SET LOGGED"
    if table.inherits:
        yield f"{where} inherits or is inherited from; use an ordinary table"
    if table.row_security:
        yield f"{where} has row level security, which hides rows; ALTER TABLE … DISABLE ROW LEVEL SECURITY"
    if table.has_rules:
        yield f"{where} has rules that rewrite statements; drop them"
    if table.triggers:
        yield f"{where} has triggers ({', '.join(table.triggers)}) that may change what is written; disable them"
    for key in table.blocking_keys:
        yield f"foreign key {key} prevents deletes; make it ON DELETE CASCADE or SET NULL, or drop it"
    if table.missing_privileges:
        yield f"no privilege for {', '.join(table.missing_privileges)} on {where}; GRANT it to this user"


def _id_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    column = table.columns.get(placement.id)
    if column is None:
        yield f"the id column {placement.id} does not exist; correct `id` of the placement"
        return
    found = ID_TYPES.get(column.type)
    if found is None:
        yield f"the id column {column.name} is {column.declared}; use text, varchar, bigint or uuid"
    elif found != collection.id_type:
        yield (
            f"the id column {column.name} is {column.declared}, the collection's ids are {collection.id_type}; "
            f'set id_type = "{found}" or use another column'
        )
    if column.nullable:
        yield f"the id column {column.name} may be null; ALTER COLUMN {column.name} SET NOT NULL"
    if not any(index.plain and index.columns == (column.name,) for index in table.unique):
        yield f"the id column {column.name} is not unique by itself; add a primary key or a unique index on it"
    if not column.deterministic:
        yield f"the collation of {column.name} calls different ids equal; use a deterministic collation"
    if column.generated:
        yield f"the id column {column.name} is generated; use a column that can be written"


def _vector_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    column, wanted = table.columns.get(placement.vector), collection.space.dimension
    if column is None:
        yield f"the vector column {placement.vector} does not exist; correct `vector` of the placement"
    elif column.type != "vector" or column.modifier != wanted:
        yield f"the vector column {column.name} is {column.declared}, the collection needs vector({wanted}); convert it"
    elif column.generated:
        yield f"the vector column {column.name} is generated; use a column that can be written"


def _metadata_problems(table: Table, placement: Placement) -> Iterator[str]:
    one_json = isinstance(placement.metadata, str)
    for name in _metadata_names(placement):
        column = table.columns.get(name)
        if column is None:
            yield f"the metadata column {name} does not exist; correct `metadata` of the placement"
        elif name in (placement.id, placement.vector, POSITION):
            yield f"the column {name} cannot be metadata as well; take it out of `metadata`"
        elif column.generated or column.identity_always:
            yield f"the metadata column {name} is generated and cannot be written; take it out of `metadata`"
        elif one_json and column.type not in ("json", "jsonb"):
            yield f'the metadata column {name} is {column.declared}; convert it to jsonb, or list it: ["{name}"]'
        elif column.type not in METADATA_TYPES:
            yield (
                f"the metadata column {name} is {column.declared}, whose values do not survive JSON unchanged; "
                f"convert it to text, jsonb, numeric or double precision, or take it out of `metadata`"
            )


def _other_column_problems(table: Table, placement: Placement) -> Iterator[str]:
    written = {placement.id, placement.vector, *_metadata_names(placement)}
    for column in table.columns.values():
        if column.name not in written and _needs_a_value(column):
            yield f"the column {column.name} is NOT NULL, has no default and is not mapped; map it or give it a default"
    for index in table.unique:
        # Events of different ids have no common order: one id may take a value before another id has released it.
        if index.columns != (placement.id,) and written & set(index.columns):
            yield f"the unique index {index.name} spans other columns than the id; drop it while vecferry writes"
    position = table.columns.get(POSITION)
    if position is not None and (position.type != "int8" or not position.nullable):
        yield f"the column {POSITION} is {position.declared}, not a nullable bigint; rename it"


def _needs_a_value(column: Column) -> bool:
    return not (column.nullable or column.has_default) and column.name != POSITION


def _metadata_names(placement: Placement) -> tuple[str, ...]:
    return (placement.metadata,) if isinstance(placement.metadata, str) else placement.metadata
