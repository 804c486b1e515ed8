"""Who holds a lock that a statement of ours waits for: only whoever runs that session can end the wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ...errors import StoreError, Unavailable
from .connection import Connection, Session, run

LOOK_EVERY_S = 5.0

_log = logging.getLogger("vecferry.pgvector")

_SESSION = """
format('process %s (%s, %s%s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename, 'unnamed'),
       coalesce(a.state, 'another role''s session'),
       coalesce(format(', transaction open for %s s',
                       round(extract(epoch FROM clock_timestamp() - a.xact_start))), ''))
"""

_BLOCKERS = f"""
SELECT DISTINCT {_SESSION}, format('%s on %s', w.mode, coalesce(w.relation::regclass::text, w.locktype))
FROM unnest(pg_blocking_pids($1)) AS b(pid) JOIN pg_stat_activity a USING (pid)
JOIN pg_locks w ON w.pid = $1 AND NOT w.granted ORDER BY 1
"""

_HOLDERS = f"""
SELECT {_SESSION}, string_agg(DISTINCT l.mode, ', ')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation = to_regclass($1) AND l.granted AND l.pid <> pg_backend_pid()
GROUP BY 1, a.xact_start ORDER BY a.xact_start LIMIT 3
"""


def holders(connection: Connection, table: str) -> str:
    """The sessions that hold a lock on ``table`` (quoted), the oldest transaction first, as text; "" without one."""
    return "; ".join(f"{session} holds {modes}" for session, modes in run(connection, _HOLDERS, [table]))


def waits(connection: Connection, pid: int) -> str:
    """Whom the process ``pid`` of the server waits for, and for which lock, as text; "" when it does not wait."""
    return "; ".join(f"{session} is in the way of {lock}" for session, lock in run(connection, _BLOCKERS, [pid]))


@contextmanager
def watched(connection: Connection, watcher: Session, what: str) -> Iterator[None]:
    """While the block runs on ``connection``, log what it waits for; ``watcher`` is used from another thread."""
    row = run(connection, "SELECT pg_backend_pid()").fetchone()
    assert row is not None
    pid, done = int(row[0]), threading.Event()

    def look() -> None:
        said = ""
        while not done.wait(LOOK_EVERY_S):
            with suppress(StoreError, Unavailable), watcher.use() as other:
                found = waits(other, pid)
                if found and found.partition(",")[0] != said:
                    said = found.partition(",")[0]
                    _log.warning("%s waits: %s; it goes on when that transaction ends", what, found)

    thread = threading.Thread(target=look, name="vecferry-waits", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        watcher.close()
