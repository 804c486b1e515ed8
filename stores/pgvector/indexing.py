"""The approximate index: is it there, does the collection want it, and its build."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg.errors import InsufficientPrivilege

from ...errors import Refused
from .blocking import watched
from .connection import Connection, Session, is_pooled, run, transaction
from .layout import Layout
from .limits import build_problem, read_limits
from .mapping import MAX_INDEX_DIMENSION
from .search import has_index

# CREATE INDEX CONCURRENTLY does not run inside a transaction, and waits for every one that began before it.
_NO_LIMITS = """
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
       'transaction_timeout')
"""

_TIMED_OUT = ("57014", "55P03", "25P04")  # statement_timeout, lock_timeout, transaction_timeout


def build_index(session: Session, layout: Layout) -> None:
    """See ``Store.build_index``. CONCURRENTLY, so that workers can write meanwhile."""
    if layout.collection.space.dimension > MAX_INDEX_DIMENSION:
        return  # searches stay exact
    with session.use() as connection:
        with transaction(connection):
            ready = has_index(connection, layout)
        if not ready or has_remains(connection, layout):
            _drop(connection, layout)
    if not ready:
        what = f"the index build of {layout.table}"
        # A connection that is closed with the settings of the build.
        with session.apart() as connection, watched(connection, session, what):
            _create(connection, layout)
    with session.use() as connection, transaction(connection):
        run(connection, f"ANALYZE {layout.table}")


def has_remains(connection: Connection, layout: Layout) -> bool:
    """Whether a build was interrupted: its index is never searched, and costs each write."""
    found = run(
        connection,
        "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)",
        [layout.index],
    ).fetchone()
    return found == (True,)


def _create(connection: Connection, layout: Layout) -> None:
    pooled = is_pooled(connection)
    problem = build_problem(connection, read_limits(connection)) if pooled else ""
    if not pooled:
        run(connection, _NO_LIMITS)
    statement = (
        f"CREATE INDEX CONCURRENTLY {layout.index_name} ON {layout.table} USING hnsw ({layout.vector} {layout.opclass})"
    )
    try:
        run(connection, statement)
    except InsufficientPrivilege as error:
        raise Refused(f"{str(error).strip()}; have its owner run {statement}, then go on") from error
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            _drop(connection, layout)
        if problem and error.sqlstate in _TIMED_OUT:
            raise Refused(f"{layout.table}: {problem}") from error
        raise


def _drop(connection: Connection, layout: Layout) -> None:
    with transaction(connection):
        run(connection, f"DROP INDEX IF EXISTS {layout.index}")
