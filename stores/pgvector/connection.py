"""One connection that opens when it is needed, and opens again after it was lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import TupleRow

from ...errors import Unavailable
from ...forks import Home
from .errors import translate
from .quirks import connection_parameters

Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10
TCP_USER_TIMEOUT_MS = 20_000

# That time-out counts only while bytes of ours are unacknowledged. A host that dies over a statement owes an
# answer, and nothing but a probe finds out: this one after 25 s instead of the two hours that systems take.
KEEPALIVES_IDLE_S = 10
KEEPALIVES_INTERVAL_S = 5
KEEPALIVES_COUNT = 3

# A process that is stopped (SIGSTOP, a frozen machine) while it holds a partition's lock must not hold it for ever.
IDLE_IN_TRANSACTION_S = 30

# Longer than a healthy batch, shorter than IDLE_IN_TRANSACTION_S: a writer that waits for such a process retries first.
LOCK_TIMEOUT_S = 10

_TRANSACTION_TIMEOUT_SINCE = 170_000  # a setting that an older server does not know

_FORMATS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL extra_float_digits = 1; "
    "SET LOCAL work_mem = '64MB'"
)


class Wire:
    """A value in PostgreSQL's binary format; the statement's cast gives its type."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        self.data = data


class _WireDumper(Dumper):
    format = Format.BINARY
    oid = 0

    def dump(self, obj: Any) -> Buffer:
        data: Buffer = obj.data
        return data


def run(connection: Connection, statement: str, parameters: Sequence[object] | None = None) -> psycopg.Cursor[TupleRow]:
    """Execute a statement made by ``layout`` and ``statements``; ``$1`` and on stand for ``parameters``."""
    return connection.execute(statement.encode(), parameters)


@contextmanager
def transaction(
    connection: Connection, *, lock_timeout_s: float | None = None, statement_timeout_ms: int = 0, first: str = ""
) -> Iterator[None]:
    """One transaction under limits and formats of its own; ``first`` is a statement that goes with its BEGIN.

    SET LOCAL, because behind a pooler the next transaction on this server process may be the application's. The time
    limits of the role do not hold inside: a scan may take longer. ``statement_timeout_ms`` 0: no limit.
    """
    lock_ms = round((LOCK_TIMEOUT_S if lock_timeout_s is None else lock_timeout_s) * 1000)
    begin = [
        f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {statement_timeout_ms:d}",
        f"SET LOCAL lock_timeout = {lock_ms:d}",
        f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_S * 1000:d}",
        _FORMATS,
    ]
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        begin.append("SET LOCAL transaction_timeout = 0")
    if first:
        begin.append(first)
    try:
        run(connection, "; ".join(begin))  # without parameters, so it is one message
        yield
    except BaseException:
        with suppress(psycopg.Error):
            run(connection, "ROLLBACK")
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.close()  # the server rolls back; ``use`` connects again
        raise
    run(connection, "COMMIT")


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler is between: it gives out process ids of its own. What one statement sets may not be there for
    the next one, unless both are in one transaction.
    """
    return run(connection, "SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,)


class Session:
    """Hands out the connection; turns every psycopg error into one of ``vecferry.errors``."""

    def __init__(self, url: str) -> None:
        self._url = url
        given = connection_parameters(url)
        defaults = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
            "keepalives_idle": KEEPALIVES_IDLE_S,
            "keepalives_interval": KEEPALIVES_INTERVAL_S,
            "keepalives_count": KEEPALIVES_COUNT,
            "application_name": "vecferry",
        }
        self._conninfo: dict[str, Any] = {**defaults, **given, "client_encoding": "UTF8"}
        self._connection: Connection | None = None
        self._home = Home(f"this connection to PostgreSQL at {self.address}", self)

    @property
    def address(self) -> str:
        """``host:port/database``, for messages."""
        host, port = self._conninfo.get("host", "localhost"), self._conninfo.get("port", 5432)
        return f"{host}:{port}/{self._conninfo.get('dbname', '')}"

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """The connection, in autocommit. Raises Unavailable, Forked, and the errors that ``translate`` gives."""
        self._home.check()
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self._connect()
        try:
            yield connection
        except psycopg.Error as error:
            if connection.broken or error.sqlstate == "25006":
                self.close()
            raise translate(error) from error

    @contextmanager
    def apart(self) -> Iterator[Connection]:
        """A connection of its own, in autocommit, closed on leaving. Raises as ``use``."""
        other = Session(self._url)
        try:
            with other.use() as connection:
                yield connection
        finally:
            other.close()

    def close(self) -> None:
        """Release the connection; idempotent. Does nothing in a forked child: the server would end the parent's too."""
        if self._home.left:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _connect(self) -> Connection:
        connection: Connection | None = None
        try:
            # prepare_threshold=None: a plan kept for all values guesses what a limit or an array brings.
            connection = psycopg.connect(
                **self._conninfo, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.RawCursor
            )
            connection.adapters.register_dumper(Wire, _WireDumper)
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            raise Unavailable(
                f"PostgreSQL at {self.address} cannot be reached ({str(error).strip()}); start it or correct the url"
            ) from error
        return connection
