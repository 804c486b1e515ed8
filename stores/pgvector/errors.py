"""What an error of PostgreSQL means for the batch that met it, by SQLSTATE; unknown means stop.

``EXACT`` is asked first, then ``CLASSES`` (the first two characters). Every class that psycopg knows has an entry, so
that a new one is a decision and not an accident. An error without a SQLSTATE is a connection that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from ...errors import Fatal, Overloaded, Rejected, StoreError, Transient

Verdict = type[Rejected] | type[Transient] | type[Overloaded] | type[Fatal]

OVERLOADED_PAUSE_S = 5.0

EXACT: Mapping[str, Verdict] = {
    "25006": Transient,  # read_only_sql_transaction: this server was demoted; the next connection finds the new primary
    "25P03": Transient,  # idle_in_transaction_session_timeout: this process was stopped while it held a lock
    "25P04": Transient,  # transaction_timeout
    "40002": Rejected,  # transaction_integrity_constraint_violation
    "53300": Transient,  # too_many_connections
    "55006": Transient,  # object_in_use
    "55P03": Transient,  # lock_not_available: another writer holds the partition
    "57014": Transient,  # query_canceled
    "57P01": Transient,  # admin_shutdown
    "57P02": Transient,  # crash_shutdown
    "57P03": Transient,  # cannot_connect_now
    "57P05": Transient,  # idle_session_timeout
}

CLASSES: Mapping[str, Verdict] = {
    "02": Fatal,  # no data
    "03": Fatal,  # SQL statement not yet complete
    "08": Transient,  # connection exception
    "09": Fatal,  # triggered action exception
    "0A": Fatal,  # feature not supported
    "0B": Fatal,  # invalid transaction initiation
    "0F": Fatal,  # locator exception
    "0L": Fatal,  # invalid grantor
    "0P": Fatal,  # invalid role specification
    "0Z": Fatal,  # diagnostics exception
    "10": Fatal,  # XQuery error
    "20": Fatal,  # case not found
    "21": Fatal,  # cardinality violation: an id twice in a batch
    "22": Rejected,  # data exception: a value that does not fit its type
    "23": Rejected,  # integrity constraint violation
    "24": Fatal,  # invalid cursor state
    "25": Fatal,  # invalid transaction state
    "26": Fatal,  # invalid SQL statement name
    "27": Fatal,  # triggered data change violation
    "28": Fatal,  # invalid authorization
    "2B": Fatal,  # dependent privilege descriptors still exist
    "2D": Fatal,  # invalid transaction termination
    "2F": Fatal,  # SQL routine exception
    "34": Fatal,  # invalid cursor name
    "38": Fatal,  # external routine exception
    "39": Fatal,  # external routine invocation exception
    "3B": Fatal,  # savepoint exception
    "3D": Fatal,  # invalid catalog name
    "3F": Fatal,  # invalid schema name
    "40": Transient,  # transaction rollback: serialization failure, deadlock, completion unknown
    "42": Fatal,  # syntax error or access rule violation: somebody changed the table
    "44": Rejected,  # WITH CHECK OPTION violation
    "53": Overloaded,  # insufficient resources: disk full, out of memory
    "54": Rejected,  # program limit exceeded; psycopg calls it operational, yet it is permanent
    "55": Fatal,  # object not in prerequisite state
    "57": Fatal,  # operator intervention, apart from the shutdowns above
    "58": Fatal,  # system error outside PostgreSQL: input/output errors
    "72": Fatal,  # snapshot failure
    "F0": Fatal,  # configuration file error
    "HV": Fatal,  # foreign data wrapper error
    "P0": Fatal,  # PL/pgSQL error
    "XX": Fatal,  # internal error, data corruption
}


def verdict(sqlstate: str | None) -> Verdict:
    """The kind of StoreError for a SQLSTATE; None is a lost connection."""
    if sqlstate is None:
        return Transient
    return EXACT.get(sqlstate) or CLASSES.get(sqlstate[:2], Fatal)


def translate(error: psycopg.Error) -> StoreError:
    """The StoreError that says what ``error`` means; its message keeps PostgreSQL's own sentence.

    Never a connection string, nor the statement, which PostgreSQL adds as LINE. Of a refused record DETAIL shows the
    whole row; reasons go into logs and headers, where no payload belongs.
    """
    lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    kind = verdict(error.sqlstate) if error.sqlstate is not None or lost else Fatal
    message = f"PostgreSQL {error.sqlstate or 'connection lost'}: {error.diag.message_primary or str(error).strip()}"
    if kind is not Rejected and error.diag.message_hint:
        message += f" ({error.diag.message_hint})"
    if issubclass(kind, Overloaded):
        return kind(message, retry_after_s=OVERLOADED_PAUSE_S)
    return kind(message)
