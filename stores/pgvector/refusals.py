"""Why a placement cannot be used, by what the catalogue says: one line per problem, with the remedy. Pure.

A remedy keeps what the shop has: no row, constraint, trigger or policy goes for a migration's sake. What can be lived
with is said in ``remarks.py`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...schemas.collection import MAX_ID_BYTES, Collection, Placement
from .catalog import Column, Companion, Server, Table
from .layout import Layout, quote
from .mapping import POSITION

MIN_POSTGRES = 13  # the oldest that pgvector 0.8 runs on
MIN_PGVECTOR = (0, 8, 0)  # the first whose indexes search on until enough rows have passed a filter

ID_TYPES = {"text": "text", "varchar": "text", "int2": "bigint", "int4": "bigint", "int8": "bigint", "uuid": "uuid"}

_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}


def server_problems(server: Server) -> Iterator[str]:
    """What is wrong with the database itself."""
    if server.version < MIN_POSTGRES * 10_000:
        yield f"the server is PostgreSQL {server.version // 10_000}; use {MIN_POSTGRES} or newer"
    yield from _extension_problems(server)
    if server.encoding != "UTF8":
        yield f"the database is encoded in {server.encoding}; use a database with ENCODING 'UTF8'"
    if server.in_recovery:
        yield "the server is a read-only replica, which may lag; use the url of the primary"


def _extension_problems(server: Server) -> Iterator[str]:
    extension = server.extension
    if extension is None:
        yield "the extension vector is absent; run CREATE EXTENSION vector in this database"
        return
    if extension.numbers < MIN_PGVECTOR:
        wanted = ".".join(map(str, MIN_PGVECTOR))
        yield (
            f"the extension vector is {extension.version}, and {wanted} is the oldest that can be used; install a "
            "newer pgvector on the server, then run ALTER EXTENSION vector UPDATE in this database"
        )
    if not extension.usable:
        yield (
            f"the extension vector lies in the schema {extension.schema}, which {server.user} may not use; "
            f"GRANT USAGE ON SCHEMA {quote(extension.schema)} TO {quote(server.user)}"
        )


def new_table_problems(server: Server, placement: Placement) -> Iterator[str]:
    """Why a table that does not exist cannot be created."""
    if server.schema is None and "." not in placement.table:
        yield "no schema of the search path exists; write the table as schema.table"
    if not isinstance(placement.metadata, str) and placement.metadata:
        yield (
            f"table {placement.table} does not exist and the types of its metadata columns are not known; "
            "create it first, or name one JSON column"
        )


def table_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    """What is wrong with an existing table, apart from privileges."""
    where = f"{table.schema}.{table.name}"
    if table.kind != "r":
        yield f"{where} is {_KINDS.get(table.kind, 'not a table')}; name an ordinary table"
        return
    yield from _table_traits(table, where)
    yield from _id_problems(table, collection, placement)
    yield from _vector_problems(table, collection, placement)
    yield from _metadata_problems(table, placement)
    yield from _other_column_problems(table, placement)


def privilege_problems(table: Table, companions: Sequence[Companion], user: str) -> Iterator[str]:
    """What a role that reads and writes rows still needs."""
    ours = Companion(name=quote(table.schema, table.name), exists=True, missing_privileges=table.missing_privileges)
    for one in (ours, *companions):
        if one.exists and one.missing_privileges:
            missing = ", ".join(one.missing_privileges)
            yield f"no privilege for {missing} on {one.name}; GRANT {missing} ON {one.name} TO {quote(user)}"


def row_checks(layout: Layout) -> tuple[str, tuple[str, ...]]:
    """A statement that reads the table once, and what each of its counts says when it is not 0, after "3 rows"."""
    id_length = f"octet_length(t.{layout.id}::text)"
    checks = {
        f"t.{layout.id} IS NOT NULL AND {id_length} NOT BETWEEN 1 AND {MAX_ID_BYTES}": (
            f"with an id that is empty or longer than {MAX_ID_BYTES} bytes, which no event can carry; "
            "name another unique column as `id`, a bigint identity beside it for example"
        )
    }
    if layout.json is not None:
        column = layout.json.name
        checks[f"jsonb_typeof(t.{quote(column)}::jsonb) <> 'object'"] = (
            f'where {column} is not a JSON object; write metadata = ["{column}"], which takes any JSON value'
        )
    wanted = ", ".join(f"count(*) FILTER (WHERE {check})" for check in checks)
    return f"SELECT {wanted} FROM {layout.table} t", tuple(checks.values())


def _table_traits(table: Table, where: str) -> Iterator[str]:
    if table.persistence != "p":
        yield f"{where} is unlogged or temporary and loses rows in a crash; ALTER TABLE … SET LOGGED"
    if table.inherits:
        yield f"{where} inherits or is inherited from; name an ordinary table"
    if table.row_security:
        yield (
            f"{where} has row level security, which may hide rows from this role; "
            "connect as a role that sees all of them: the owner, or one with BYPASSRLS"
        )
    if table.has_rules:
        yield (
            f"{where} has rules that rewrite statements, and a guarded write cannot pass them; "
            "let a trigger do what each rule does, or name a table without rules"
        )


def _id_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    column = table.columns.get(placement.id)
    if column is None:
        yield f"the id column {placement.id} does not exist; correct `id` of the placement"
        return
    found = ID_TYPES.get(column.type)
    if found is None:
        yield f"the id column {column.name} is {column.declared}; use text, varchar, an integer type or uuid"
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
        yield (
            f"the collation of {column.name} calls different ids equal; name another unique column as `id`, "
            f"or add one with a deterministic collation beside it"
        )
    if column.generated:
        yield f"the id column {column.name} is generated; name a column that can be written"


def _vector_problems(table: Table, collection: Collection, placement: Placement) -> Iterator[str]:
    column, wanted = table.columns.get(placement.vector), collection.space.dimension
    if column is None:
        yield f"the vector column {placement.vector} does not exist; correct `vector` of the placement"
        return
    declared = f"the vector column {column.name} is {column.declared}, the collection needs vector({wanted})"
    if column.type != "vector":
        yield f"{declared}; add a column of that type beside it, and fill it with {column.name}::vector({wanted})"
    elif column.modifier < 0:
        yield f"{declared}; ALTER COLUMN {column.name} TYPE vector({wanted}) fails if a row has other dimensions"
    elif column.modifier != wanted:
        yield (
            f"{declared}; set dimension = {column.modifier} of the collection, "
            "or name the column that holds vectors of this model"
        )
    elif column.generated:
        yield f"the vector column {column.name} is generated; name a column that can be written"


def _metadata_problems(table: Table, placement: Placement) -> Iterator[str]:
    one_json = isinstance(placement.metadata, str)
    for name in metadata_names(placement):
        column = table.columns.get(name)
        if column is None:
            yield f"the metadata column {name} does not exist; correct `metadata` of the placement"
        elif name in (placement.id, placement.vector, POSITION):
            yield f"the column {name} cannot be metadata as well; take it out of `metadata`"
        elif column.generated or column.identity_always:
            yield f"the metadata column {name} is generated and cannot be written; take it out of `metadata`"
        elif one_json and column.type not in ("json", "jsonb"):
            yield f'the metadata column {name} is {column.declared}, not jsonb; list it: metadata = ["{name}"]'
        elif not one_json and column.json_cast and column.type not in ("json", "jsonb"):
            yield unstable(column)


def unstable(column: Column) -> str:
    """The problem of a metadata column whose values JSON does not carry there and back."""
    return (
        f"values of the metadata column {column.name}, {column.declared}, come back from JSON as other ones; "
        "add a text or jsonb column beside it that says the same, and map that one, or take it out of `metadata`"
    )


def _other_column_problems(table: Table, placement: Placement) -> Iterator[str]:
    written = {placement.id, placement.vector, *metadata_names(placement)}
    for column in table.columns.values():
        if column.name not in written and _needs_a_value(column):
            yield (
                f"the column {column.name} is NOT NULL, has no default and is not mapped; map it, or give it a default"
            )
    position = table.columns.get(POSITION)
    if position is not None and (position.type != "int8" or not position.nullable):
        yield f"the column {POSITION} is {position.declared}, not a nullable bigint; rename it"


def _needs_a_value(column: Column) -> bool:
    return not (column.nullable or column.has_default) and column.name != POSITION


def metadata_names(placement: Placement) -> tuple[str, ...]:
    """The columns that hold metadata."""
    return (placement.metadata,) if isinstance(placement.metadata, str) else placement.metadata
