"""Every error that vecferry raises on purpose.

VecferryError
├── ConfigError        the configuration is wrong; command line exit code 2
├── InvalidRecord      the publisher refused a record; names the field, the problem and the remedy
├── DecodeError        bytes on a topic are not an event; the consumer dead-letters them
├── Refused            a gate or a preflight said no; exit code 3
│   └── Forked         a child process uses what its parent opened
├── Inconclusive       not known yet, or timed out; exit code 4
├── Unavailable        Kafka, or a store, cannot be reached; exit code 1
├── NotDelivered       Kafka did not acknowledge a record
├── DeadLettered       a read waits for a write that its store can never hold
└── StoreError         what a store adapter raises from ``apply``
    ├── Rejected       this batch can never be stored (bisect it: one record of it may be the reason)
    ├── Transient      try the same batch again after a moment
    │   └── Oversized  it ran into a limit of the server, of time or of memory: try a smaller one
    ├── Overloaded     try again, not before ``retry_after_s``
    └── Fatal          stop: nothing is known about this failure, so nothing may be skipped
"""

from __future__ import annotations

from collections.abc import Sequence


class VecferryError(Exception):
    """Base of all errors that vecferry raises on purpose."""


class ConfigError(VecferryError):
    """The configuration is wrong: an unknown key, a bad value, a missing section."""


class InvalidRecord(VecferryError, ValueError):
    """A record refused before it reached Kafka.

    ``field`` is the argument at fault, ``problem`` what is wrong with its value, ``remedy`` what to do.
    """

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class DecodeError(VecferryError):
    """Bytes that are not an event of a known schema; the message says what was found instead."""


class Refused(VecferryError):
    """A preflight or a gate said no. ``problems`` holds one line each, the remedy included."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(lines))
        self.problems = tuple(lines)


class Forked(Refused):
    """Opened in another process and inherited through a fork; the message says where to open it instead."""


class Inconclusive(VecferryError):
    """What was asked is not known yet, or did not happen within its time-out."""


class Unavailable(VecferryError):
    """Kafka or a store cannot be reached; the message names the address and the remedy."""


class NotDelivered(VecferryError):
    """Kafka did not acknowledge a record; it may or may not be in the log.

    Publish it again, unless its id was published anew since: of two writes of an id the later one in the log counts.
    """


class DeadLettered(VecferryError):
    """A write that a read was to show (``after=``, a session) became a dead letter: ``store`` can never hold it.

    ``id`` is "" where the record carried none; ``letter`` its key for ``vecferry dlq show``. A newer state of the id
    ends this: publish it, and read with its token.
    """

    def __init__(self, *, store: str, id: str, position: int, letter: str, reason: str) -> None:
        what = f"the write of {id!r}" if id else "a write"
        again = f"publish the right state of {id!r} and read with its token" if id else "publish the row again"
        super().__init__(f"{what} can never be stored in {store!r} ({reason}); {again}")
        self.store = store
        self.id = id
        self.position = position
        self.letter = letter
        self.reason = reason


class StoreError(VecferryError):
    """Base of what ``Store`` methods raise; foreign exceptions are mapped by each adapter's ``errors.py``."""


class Rejected(StoreError):
    """The store can never take this batch as it is."""


class Transient(StoreError):
    """The same call may succeed later: a lost connection, a deadlock, a commit conflict."""


class Oversized(Transient):
    """The call ran into a limit of the server: a smaller batch may pass, and so may the same one later."""


class Overloaded(StoreError):
    """The store asks for a pause of ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Fatal(StoreError):
    """Unknown failure: the worker stops, nothing is skipped."""
