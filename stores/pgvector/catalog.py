"""What PostgreSQL's catalogue says about the server and about the application's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from psycopg import sql

from .connection import Connection, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The facts about the database that a placement depends on."""

    schema: str | None  # where an unqualified new table goes
    encoding: str
    in_recovery: bool
    vector_oid: int | None  # None: the extension is absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; ``declared`` is its type with modifiers, ``type`` without."""

    name: str
    type: str
    declared: str
    modifier: int  # varchar(n): n + 4; vector(d): d; -1: none
    nullable: bool
    has_default: bool  # or is generated, or an identity
    generated: bool
    identity_always: bool
    deterministic: bool  # its collation calls only identical texts equal


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueIndex:
    """``plain``: immediate, valid, neither partial nor over expressions: fit for ON CONFLICT."""

    name: str
    columns: tuple[str, ...]
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The application's table as it is."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind
    persistence: str  # pg_class.relpersistence
    row_security: bool
    has_rules: bool
    inherits: bool
    columns: Mapping[str, Column]
    unique: tuple[UniqueIndex, ...]
    triggers: tuple[str, ...]
    blocking_keys: tuple[str, ...]  # foreign keys of other tables that forbid to delete a row
    missing_privileges: tuple[str, ...]


_SERVER = """
SELECT current_schema(), current_setting('server_encoding'), pg_is_in_recovery(), to_regtype('vector')::oid::bigint
"""

_TABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relrowsecurity, c.relhasrules,
       EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid OR inhparent = c.oid),
       ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
             WHERE NOT has_table_privilege(c.oid, p))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
"""

_COLUMNS = """
SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod), a.atttypmod, NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
       coalesce(c.collisdeterministic, true)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_UNIQUE = """
SELECT c.relname,
       ARRAY(SELECT coalesce(a.attname, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, nth)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.nth <= i.indnkeyatts ORDER BY k.nth),
       i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::bigint::oid AND (i.indisunique OR i.indisexclusion) ORDER BY c.relname
"""

_TRIGGERS = """
SELECT tgname FROM pg_trigger
WHERE tgrelid = $1::bigint::oid AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname
"""

_BLOCKING_KEYS = """
SELECT format('%s on %s', conname, conrelid::regclass) FROM pg_constraint
WHERE contype = 'f' AND confrelid = $1::bigint::oid AND confdeltype IN ('a', 'r') ORDER BY 1
"""


_COLUMN_FIELDS = [field.name for field in fields(Column)]  # the columns of the query above, in its order


def read_server(connection: Connection) -> Server:
    """The database's own facts."""
    row = run(connection, _SERVER).fetchone()
    assert row is not None
    return Server(schema=row[0], encoding=row[1], in_recovery=row[2], vector_oid=row[3])


def read_table(connection: Connection, parts: tuple[str, ...]) -> Table | None:
    """The table of that name as the search path finds it, or None."""
    row = run(connection, _TABLE, [sql.Identifier(*parts).as_string(connection)]).fetchone()
    if row is None:
        return None
    oid = [row[0]]
    columns = [Column(**dict(zip(_COLUMN_FIELDS, values, strict=True))) for values in run(connection, _COLUMNS, oid)]
    unique = [
        UniqueIndex(name=name, columns=tuple(keys), plain=plain) for name, keys, plain in run(connection, _UNIQUE, oid)
    ]
    return Table(
        oid=row[0],
        schema=row[1],
        name=row[2],
        kind=row[3],
        persistence=row[4],
        row_security=row[5],
        has_rules=row[6],
        inherits=row[7],
        columns={column.name: column for column in columns},
        unique=tuple(unique),
        triggers=tuple(name for (name,) in run(connection, _TRIGGERS, oid)),
        blocking_keys=tuple(name for (name,) in run(connection, _BLOCKING_KEYS, oid)),
        missing_privileges=tuple(row[8]),
    )
