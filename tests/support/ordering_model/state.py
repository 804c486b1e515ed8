"""What the model remembers. Everything is an immutable tuple, so that states can be compared and put in a set.

One id. Events are numbered as they are published; event i has offset i and the position of offset i. ``BASE`` (-1)
numbers the row that may have been in the source before the pipeline. A *value* says which event a content really comes
from, whatever position is written beside it: right rules never let the two differ.
"""

from __future__ import annotations

from typing import NamedTuple

from vecferry.schemas.batch import Op
from vecferry.schemas.position import base_position, encode_position

BASE = -1
NOTHING = -2
UNKNOWN = -1

ABSENT, ROW, DELETED = "absent", "row", "deleted"


def position_of(number: int) -> int:
    """The real position of an event of the model."""
    return base_position(1) if number == BASE else encode_position(1, number)


class Log(NamedTuple):
    """The live topic, and the dead letter of the source."""

    ops: tuple[Op, ...] = ()
    gone: int = UNKNOWN  # a delete that compaction dropped
    bad: int = UNKNOWN  # the event that the source rejects, until its letter is redriven
    letter: str = "none"  # none → open → resolved

    @property
    def end(self) -> int:
        return len(self.ops)

    @property
    def open_letter(self) -> int | None:
        return self.bad if self.letter == "open" else None


class Held(NamedTuple):
    """What a store holds for the id."""

    kind: str = ABSENT
    position: int = NOTHING
    value: int = NOTHING


class Zombie(NamedTuple):
    """A worker that was replaced and does not know: it still holds the batch [start, end)."""

    stage: str  # holding → (checked →) written
    start: int
    end: int
    offer: int = UNKNOWN  # the event it is about to write, in a store that checks before


class Budget(NamedTuple):
    """How often each fault may still happen to a group."""

    crashes: int = 0
    zombies: int = 0
    rewinds: int = 0  # redelivery from any earlier offset
    resets: int = 0  # the group's committed offset moved forwards by mistake
    restores: int = 0  # the store put back to the state in which it was created


NO_FAULTS = Budget()


class Group(NamedTuple):
    """A consumer group and its store."""

    held: Held
    newest: int  # the newest value ever held; only the checker looks at it
    start: int  # where the live group started
    applied: int  # the store's mark
    committed: int
    next: int  # what the worker reads next; its mark lags until written
    zombie: Zombie | None
    faults: Budget


class Copy(NamedTuple):
    """A row in the snapshot topic."""

    position: int
    value: int


class Run(NamedTuple):
    """One backfill run; its plan is one chunk, which holds the id."""

    done: int = 0  # actions of the chunk that are done
    applied: int = UNKNOWN
    letter: int | None = None
    fence: int = UNKNOWN
    seen: Copy | None = None  # scanned, not yet produced
    copies: tuple[Copy, ...] = ()
    delivered: tuple[bool, ...] = ()
    rescans: int = 0


class World(NamedTuple):
    """Everything. ``source`` is None once nothing reads it any more, ``target`` until a further store is created."""

    based: bool
    log: Log
    source: Group | None
    target: Group | None
    runs: tuple[Run, ...]
