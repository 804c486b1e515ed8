"""What PostgreSQL's catalogue says about the server and about the application's table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from psycopg import sql

from .connection import Connection, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """pgvector as this database has it; the search path need not name its ``schema``."""

    version: str
    schema: str
    usable: bool  # this user may use what lies in the schema
    vector_oid: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers, to be compared; ``0.8.0-x`` is (0, 8, 0)."""
        return tuple(int(digits) for digits in re.findall(r"\d+", self.version)[:3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The facts about the database that a placement depends on."""

    version: int  # server_version_num
    user: str
    schema: str | None  # where an unqualified new table goes
    encoding: str
    in_recovery: bool
    extension: Extension | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; ``declared`` is its type with modifiers, ``type`` without. Both look through a domain's name."""

    name: str
    type: str
    declared: str
    modifier: int  # varchar(n): n + 4; vector(d): d; -1: none
    nullable: bool
    has_default: bool  # or is generated, or an identity
    generated: bool
    identity_always: bool
    deterministic: bool  # its collation calls only identical texts equal
    collation: tuple[str, str] | None  # schema and name, where it is not the database's own
    json_cast: bool  # the type, or that of its elements, becomes JSON by a cast of its own, with no way back


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueIndex:
    """``plain``: immediate, valid, neither partial nor over expressions: fit for ON CONFLICT."""

    name: str
    columns: tuple[str, ...]
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """``before``: for each row before it is written, so it may change the row or hold it back."""

    name: str
    before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """Rows of ``table`` that point at rows of ours; ``on_delete`` is pg_constraint.confdeltype."""

    name: str
    table: str
    on_delete: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The application's table as it is."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind
    persistence: str  # pg_class.relpersistence
    row_security: bool  # and this user is subject to it
    owned: bool  # this user may alter it
    has_rules: bool
    inherits: bool
    columns: Mapping[str, Column]
    unique: tuple[UniqueIndex, ...]
    triggers: tuple[Trigger, ...]
    keys: tuple[ForeignKey, ...]
    missing_privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """One of the tables beside it. ``name`` is quoted; ``missing_privileges`` means nothing for one that is absent."""

    name: str
    exists: bool
    missing_privileges: tuple[str, ...]


_SERVER = """
SELECT current_setting('server_version_num')::int, current_user, current_schema(), current_setting('server_encoding'),
       pg_is_in_recovery(), e.extversion, n.nspname, has_schema_privilege(n.oid, 'USAGE'), t.oid::bigint
FROM (SELECT) AS one
LEFT JOIN pg_extension e ON e.extname = 'vector'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector'
"""

_MISSING_PRIVILEGES = """
ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE NOT has_table_privilege(c.oid, p))
"""

_TABLE = f"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, row_security_active(c.oid),
       pg_has_role(c.relowner, 'USAGE'), c.relhasrules,
       EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid OR inhparent = c.oid), {_MISSING_PRIVILEGES}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
"""

_COMPANION = f"SELECT {_MISSING_PRIVILEGES} FROM pg_class c WHERE c.oid = to_regclass($1)"

# A domain counts as the type below it. to_jsonb asks for a cast to json, of a type that is not built in.
_COLUMNS = """
SELECT a.attname, b.typname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
       coalesce(c.collisdeterministic, true), c.collname, n.nspname,
       EXISTS (SELECT FROM pg_cast k WHERE k.castsource IN (b.oid, b.typelem) AND k.castfunc <> 0
               AND k.casttarget = 'json'::regtype AND k.castsource >= 16384)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_collation c ON c.oid = a.attcollation AND c.collprovider <> 'd'
LEFT JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_UNIQUE = """
SELECT c.relname,
       ARRAY(SELECT coalesce(a.attname, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, nth)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.nth <= i.indnkeyatts ORDER BY k.nth),
       i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) AS k(attnum, own)
                       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                       WHERE k.own <> a.attcollation)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::bigint::oid AND (i.indisunique OR i.indisexclusion) ORDER BY c.relname
"""

_TRIGGERS = """
SELECT tgname, tgtype & 3 = 3 FROM pg_trigger
WHERE tgrelid = $1::bigint::oid AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY tgname
"""

_KEYS = """
SELECT conname, conrelid::regclass::text, confdeltype::text FROM pg_constraint
WHERE contype = 'f' AND confrelid = $1::bigint::oid ORDER BY 1, 2
"""

# What ``_COLUMNS`` gives first, in its order.
_COLUMN_FIELDS = [field.name for field in fields(Column) if field.name not in ("collation", "json_cast")]


def read_server(connection: Connection) -> Server:
    """The database's own facts."""
    row = run(connection, _SERVER).fetchone()
    assert row is not None
    version, user, schema, encoding, in_recovery, *extension = row
    found = None
    if extension[-1] is not None:
        found = Extension(version=extension[0], schema=extension[1], usable=extension[2], vector_oid=extension[3])
    return Server(
        version=version, user=user, schema=schema, encoding=encoding, in_recovery=in_recovery, extension=found
    )


def read_table(connection: Connection, parts: tuple[str, ...]) -> Table | None:
    """The table of that name as the search path finds it, or None."""
    row = run(connection, _TABLE, [sql.Identifier(*parts).as_string(connection)]).fetchone()
    if row is None:
        return None
    oid = [row[0]]
    columns = [_column(*values) for values in run(connection, _COLUMNS, oid)]
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
        owned=row[6],
        has_rules=row[7],
        inherits=row[8],
        columns={column.name: column for column in columns},
        unique=tuple(unique),
        triggers=tuple(Trigger(name=name, before=before) for name, before in run(connection, _TRIGGERS, oid)),
        keys=tuple(ForeignKey(name=n, table=table, on_delete=how) for n, table, how in run(connection, _KEYS, oid)),
        missing_privileges=tuple(row[9]),
    )


def read_companion(connection: Connection, name: str) -> Companion:
    """The table of that quoted name."""
    row = run(connection, _COMPANION, [name]).fetchone()
    return Companion(name=name, exists=row is not None, missing_privileges=() if row is None else tuple(row[0]))


def schema_exists(connection: Connection, schema: str) -> bool:
    """Whether there is one of that name."""
    found = run(connection, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", [schema]).fetchone()
    return found == (True,)


def may_create_in(connection: Connection, schema: str) -> bool:
    """Whether this user may make tables there."""
    row = run(
        connection, "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1", [schema]
    ).fetchone()
    return row is not None and bool(row[0])


def _column(*values: Any) -> Column:
    """One row of ``_COLUMNS``."""
    *plain, collation, schema, json_cast = values
    facts = dict(zip(_COLUMN_FIELDS, plain, strict=True))
    return Column(**facts, collation=None if collation is None else (schema, collation), json_cast=json_cast)
