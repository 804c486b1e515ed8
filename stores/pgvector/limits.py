"""The time limits under which PostgreSQL lets this role work, and what they mean for vecferry."""

from __future__ import annotations

from .connection import Connection, is_pooled, run

_NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
_STOP_A_BUILD = ("statement_timeout", "lock_timeout", "transaction_timeout")

_READ = """
SELECT s.name, current_setting(s.name) FROM pg_settings s
WHERE s.name = ANY($1::text[]) AND s.setting NOT IN ('0', '-1') ORDER BY s.name
"""


def read_limits(connection: Connection) -> dict[str, str]:
    """Those that are set, in PostgreSQL's spelling (``5s``). Outside of ``transaction``, which sets its own."""
    return dict(run(connection, _READ, [list(_NAMES)]).fetchall())


def remarks(connection: Connection) -> tuple[str, ...]:
    """See ``Store.remarks``."""
    found = read_limits(connection)
    lines = []
    if found:
        lines.append(f"the role has {_listed(found)}; vecferry sets limits of its own in each transaction")
    if is_pooled(connection):
        problem = build_problem(connection, found)
        lines.append(f"a pooler is between; {problem or 'vecferry leaves no setting behind'}")
    return tuple(lines)


def build_problem(connection: Connection, found: dict[str, str]) -> str:
    """Why an index may not be built through a pooler under the limits ``found``, with the remedy; "": it may."""
    stop = {name: value for name, value in found.items() if name in _STOP_A_BUILD}
    if not stop:
        return ""
    row = run(connection, "SELECT quote_ident(current_user)").fetchone()
    assert row is not None
    undo = "; ".join(f"ALTER ROLE {row[0]} SET {name} = 0" for name in stop)
    return f"{_listed(stop)} may stop the build of an index: give the url of PostgreSQL itself, or {undo}"


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in found.items())
