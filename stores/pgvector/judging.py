"""What the database holds for a placement, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from ...errors import Refused
from ...schemas.collection import Collection, Placement
from ...wording import count
from . import refusals, remarks
from .catalog import (
    Column,
    Companion,
    Extension,
    Server,
    Table,
    may_create_in,
    read_companion,
    read_server,
    read_table,
    schema_exists,
)
from .connection import Connection, run
from .enrol import Steps, companion_names, enrolment
from .layout import Layout, literal, make_layout, quote
from .mapping import POSITION

# Known to survive JSON. Values of any other type are tried out before enrolment; the guard checks every value again.
_PROVEN = frozenset(
    {"text", "varchar", "int2", "int4", "int8", "float8", "bool", "jsonb", "json"}
    | {"numeric", "uuid", "date", "timestamptz", "_text"}
)
_TRIED_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``parts``: schema and name of the table that is or will be. ``privileges``: what this role lacks to use it."""

    collection: Collection
    placement: Placement
    server: Server
    table: Table | None
    parts: tuple[str, str]
    companions: tuple[Companion, ...]
    problems: tuple[str, ...]
    privileges: tuple[str, ...]

    @property
    def enrolled(self) -> bool:
        """Whether the table carries positions."""
        return self.table is not None and POSITION in self.table.columns

    @property
    def extension(self) -> Extension:
        """Of a placement without problems."""
        assert self.server.extension is not None
        return self.server.extension

    def layout(self) -> Layout:
        """Raises Refused for what cannot be used, or is not enrolled."""
        if self.problems or self.privileges:
            raise Refused((*self.problems, *self.privileges))
        if self.table is None or not self.enrolled:
            raise Refused(f"table {self.placement.table} is not enrolled; {how_to_enrol(self.collection.name)}")
        return make_layout(self.table, self.collection, self.placement, self.extension)

    def steps(self, connection: Connection, *, complete: bool) -> Steps:
        """What is left to run for a placement without problems."""
        return enrolment(
            connection,
            self.table,
            self.parts,
            self.companions,
            self.collection,
            self.placement,
            self.extension,
            complete=complete,
        )

    def rights(self, connection: Connection, steps: Steps) -> tuple[str, ...]:
        """Why this role may not run ``steps``."""
        if not steps.ddl or ((self.table is None or self.table.owned) and may_create_in(connection, self.parts[0])):
            return ()
        what = "alter" if self.table is not None else "make"
        return (
            f"{self.server.user} may not {what} {'.'.join(self.parts)}, or make tables beside it; have its owner, or a "
            f"superuser, run what `vecferry enrol {self.collection.name} --sql` prints, then go on",
        )


def how_to_enrol(collection: str) -> str:
    """The remedy for a table that carries no positions: ``enrol`` prepares the two of a migration alone."""
    return (
        f"run `vecferry enrol {collection}` if migrations.{collection} names it, "
        f"else fill it with `vecferry replay {collection} --run RUN --into REPLICA`"
    )


def judge(connection: Connection, collection: Collection, placement: Placement, parts: tuple[str, ...]) -> Judged:
    """What the catalogue says; ``row_problems`` looks at the rows."""
    server = read_server(connection)
    problems = [*refusals.server_problems(server)]
    # The catalogue of a version that is too old may not even have the columns that are asked for.
    table = None if problems else read_table(connection, parts)
    where = (parts[0] if len(parts) == 2 else server.schema or "", parts[-1])
    privileges: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    if table is not None:
        where = (table.schema, table.name)
        problems += refusals.table_problems(table, collection, placement)
    elif not problems:
        problems += refusals.new_table_problems(server, placement)
        if where[0] and not schema_exists(connection, where[0]):
            problems.append(f"the schema {where[0]} does not exist; create it first, or name another one in `table`")
    if not problems:
        companions = tuple(read_companion(connection, name) for name in companion_names(where))
    if table is not None:
        privileges = tuple(refusals.privilege_problems(table, companions, server.user))
    return Judged(
        collection=collection,
        placement=placement,
        server=server,
        table=table,
        parts=where,
        companions=companions,
        problems=tuple(problems),
        privileges=privileges,
    )


def row_problems(connection: Connection, judged: Judged) -> tuple[str, ...]:
    """What the rows hold that cannot be carried, of a table that is not enrolled yet; reads it once."""
    layout = _unenrolled(judged)
    if layout is None:
        return ()
    statement, explain = refusals.row_checks(layout)
    row = run(connection, statement).fetchone()
    assert row is not None
    found = [f"{count(rows, 'row')} {text}" for rows, text in zip(row, explain, strict=True) if rows]
    found += [refusals.unstable(column) for column in layout.columns if not _survives(connection, layout, column)]
    return tuple(found)


def placement_remarks(connection: Connection, judged: Judged) -> tuple[str, ...]:
    """See ``Store.remarks``."""
    if judged.table is None or judged.problems:
        return ()
    found = [*remarks.table_remarks(judged.table, judged.placement)]
    if "SELECT" in judged.table.missing_privileges:
        return tuple(found)
    layout = make_layout(judged.table, judged.collection, judged.placement, judged.extension)
    if layout.present != "true":
        row = run(connection, f"SELECT count(*) FROM {layout.table} t WHERE NOT ({layout.present})").fetchone()
        assert row is not None
        found += [remarks.without_vector(row[0])] if row[0] else []
    return tuple(found)


def _unenrolled(judged: Judged) -> Layout | None:
    """The layout of a table whose rows are to be looked at."""
    table = judged.table
    if table is None or judged.problems or judged.enrolled or "SELECT" in table.missing_privileges:
        return None
    return make_layout(table, judged.collection, judged.placement, judged.extension)


def _survives(connection: Connection, layout: Layout, column: Column) -> bool:
    """Whether values of the column come back from JSON as they were, by the guard's own comparison."""
    if column.type in _PROVEN:
        return True
    name = quote(column.name)
    tried = f"SELECT {name} FROM {layout.table} WHERE {name} IS NOT NULL LIMIT {_TRIED_ROWS}"
    statement = (
        f"SELECT EXISTS (SELECT FROM ({tried}) t "
        f"CROSS JOIN LATERAL jsonb_to_record(jsonb_build_object({literal(column.name)}, to_jsonb(t.{name}))) "
        f"AS r({name} {column.declared}) WHERE to_jsonb(r.{name}) IS DISTINCT FROM to_jsonb(t.{name}))"
    )
    try:
        with connection.transaction():
            return run(connection, statement).fetchone() == (False,)
    except (psycopg.DataError, psycopg.NotSupportedError, psycopg.ProgrammingError):
        return False
