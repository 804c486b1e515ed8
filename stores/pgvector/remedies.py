"""What an operator can put right is a refusal, not a failure of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import InsufficientPrivilege, InvalidSchemaName, LockNotAvailable

from ...errors import Refused
from .blocking import holders
from .connection import Connection
from .layout import quote


@contextmanager
def remedied(connection: Connection, collection: str, table: str, parts: tuple[str, ...]) -> Iterator[None]:
    """Goes around the transaction of an enrolment; ``table`` as the placement names it. Raises Refused."""
    try:
        yield
    except LockNotAvailable as error:
        held = holders(connection, quote(*parts)) or "another enrolment is at work"
        raise Refused(f"{table} is locked: {held}; try again when that has ended") from error
    except InsufficientPrivilege as error:
        remedy = f"have its owner run what `vecferry enrol {collection} --sql` prints, then go on"
        raise Refused(f"{str(error).strip()}; {remedy}") from error
    except InvalidSchemaName as error:
        raise Refused(f"{error.diag.message_primary}; create the schema first") from error
