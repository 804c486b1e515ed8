"""The approximate index: is it there, does the collection want it, and its build."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import psycopg
from psycopg.errors import InsufficientPrivilege

from ...errors import Refused
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

DROP_TIMEOUT_S = 1.0  # whoever waits for the whole table makes all later ones wait for it

_TIMED_OUT = ("57014", "55P03", "25P04")  # statement_timeout, lock_timeout, transaction_timeout


def build_index(session: Session, layout: Layout, watch: Callable[[Connection], AbstractContextManager[None]]) -> None:
    """See ``Store.build_index``. CONCURRENTLY, so that workers can write meanwhile; ``watch`` goes around the waits."""
    if layout.collection.space.dimension > MAX_INDEX_DIMENSION:
        return  # searches stay exact
    with session.use() as connection, transaction(connection):
        ready, remains = has_index(connection, layout), has_remains(connection, layout)
    if remains or not ready:
        with session.apart() as connection, watch(connection):  # closed with the settings of the build
            _build(connection, layout, ready=ready)
    with session.use() as connection, transaction(connection):
        run(connection, f"ANALYZE {layout.table}")


def create_index(layout: Layout) -> str:
    """The statement that builds the index."""
    return (
        f"CREATE INDEX CONCURRENTLY {layout.index_name} ON {layout.table} USING hnsw ({layout.vector} {layout.opclass})"
    )


def has_remains(connection: Connection, layout: Layout) -> bool:
    """Whether a build was interrupted: its index is never searched, and costs each write."""
    found = run(
        connection,
        "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)",
        [layout.index],
    ).fetchone()
    return found == (True,)


def _build(connection: Connection, layout: Layout, *, ready: bool) -> None:
    pooled = is_pooled(connection)
    problem = build_problem(connection, read_limits(connection)) if pooled else ""
    if not pooled:
        run(connection, _NO_LIMITS)
    try:
        run(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {layout.index}")  # the remains, or of another metric
        if not ready:
            run(connection, create_index(layout))
    except psycopg.Error as error:
        with suppress(psycopg.Error), transaction(connection, lock_timeout_s=DROP_TIMEOUT_S):
            run(connection, f"DROP INDEX IF EXISTS {layout.index}")
        if problem and error.sqlstate in _TIMED_OUT:
            raise Refused(f"{layout.table}: {problem}") from error
        if isinstance(error, InsufficientPrivilege):
            remedy = f"have its owner run {create_index(layout)}, then go on"
            raise Refused(f"{error.diag.message_primary}; {remedy}") from error
        raise
