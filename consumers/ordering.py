"""Is this event stale? This file decides. All other code calls it or is tested against it.

A store's guard (SQL, a merge condition) is :func:`decide` written in the store's own language, and the contract suite
holds it to this function. ``docs/design/ordering.md`` says why each rule is needed and what is lost without it; the
exhaustive check in ``tests/model`` runs these very functions over every interleaving.

Everything here is pure: no I/O, no clock, no logging. Positions are compared as integers (``schemas/position.py``);
a row that predates the pipeline counts as ``base_position(epoch)``, older than every event of its epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..schemas.batch import Op, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The store knows nothing of the id: neither a row nor a delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The store holds the row that the event at ``position`` wrote (or BASE, if it predates the pipeline)."""

    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The store holds no row and remembers that the event at ``position`` deleted it."""

    position: int


State = Absent | Present | Deleted


def decide(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    """The outcome of an event at ``position`` for an id that is in ``state``, and the state of the id after it.

    APPLIED if the id is absent or ``position`` is newer than the state's. Otherwise the state stays, and the outcome is
    DUPLICATE (the same position) or STALE (an older one). For a SNAPSHOT row, ``position`` is the row's position in its
    source. DUPLICATE and STALE are the same refusal and differ only in the counters.

    Because the newest position wins and a delete is remembered like a row, the final state depends only on the set
    of events, not on their order or number of deliveries. Raises ValueError for PATCH, which no store may be given.
    """
    if op is Op.PATCH:
        raise ValueError("PATCH has no place in the order yet; consumers dead-letter it")
    if not isinstance(state, Absent) and position <= state.position:
        return (Outcome.DUPLICATE if position == state.position else Outcome.STALE), state
    return Outcome.APPLIED, (Deleted(position=position) if op is Op.DELETE else Present(position=position))


def resume_offset(committed: int | None, applied: int | None) -> int | None:
    """The offset at which a worker resumes a live partition: the lower of what the group and the store remember.

    ``committed`` is the group's committed offset, ``applied`` the store's own mark; both are *next* offsets. The lower
    one skips no event, even if the group was reset forwards or the store was restored from a backup. The store refuses
    events that are read again, by their position. None if either was never initialised: the caller then refuses.
    """
    if committed is None or applied is None:
        return None
    return min(committed, applied)
