"""Decides whether two stores agree on an id, by all states that they have shown of it. Pure.

At equal positions both must hold equal content. Different positions are a fault only if the store with the older state
has applied beyond the newer position; until then the other store is simply ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from .content import State, content_difference


class Fault(StrEnum):
    """What is wrong with an id."""

    MISSING = "missing"  # a row of the source that the target does not know
    EXTRA = "extra"  # a row of the target that the source does not have
    STALE = "stale"  # one of the two holds an older state than the other
    CORRUPT = "corrupt"  # equal positions and different content; or an id held twice; or a position that no event has
    UNDECIDED = "undecided"  # the id kept changing, or a store did not keep up
    SKIPPED = "skipped"  # a row of the source that the log cannot carry, and that the copy left behind on purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One id that differs; a position is None where the store does not know the id."""

    id: str
    fault: Fault
    source_position: int | None
    target_position: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one store has shown of an id.

    now       its state when it was last read, None = unknown to the store
    applied   a position: every event of the id below it had been applied before that read
    earlier   states of earlier reads that the other store had not reached yet, oldest first
    twice     one read returned the id more than once
    """

    now: State | None
    applied: int
    earlier: tuple[State, ...] = ()
    twice: bool = False

    @property
    def states(self) -> tuple[State, ...]:
        """All of them, oldest first."""
        return self.earlier if self.now is None else (*self.earlier, self.now)


def judge(id_: str, source: Seen, target: Seen, tolerance: float, end: int | None = None) -> Difference | None:
    """The fault of ``id_``, by all states that both stores have shown of it; None if there is none.

    ``end``: the position that the next event of the id will have at least, as known after both reads. No row and no
    delete is at ``end`` or beyond, so one that is was not written by the log, or the log went back.

    If one store has applied beyond a state that the other has shown, and does not show it, that is a fault, however
    often the id is written. Otherwise the content at the first position that both have shown decides. UNDECIDED if
    there is no such position: the id is being written, and the caller reads it again.
    """
    if source.now is None and target.now is None:
        return None
    if source.twice or target.twice:
        sides = [name for name, seen in (("source", source), ("target", target)) if seen.twice]
        return _difference(id_, source.now, target.now, Fault.CORRUPT, f"held twice by the {' and the '.join(sides)}")
    for name, seen in (("source", source), ("target", target)):
        if end is not None and _position(seen.now) >= end:
            reason = f"the {name} holds a position beyond the end of the log"
            return _difference(id_, source.now, target.now, Fault.CORRUPT, reason)
    for behind, ahead in ((target, source), (source, target)):
        missed = _missed(behind, ahead)
        if missed is None:
            continue
        ours, theirs = (missed, behind.now) if behind is target else (behind.now, missed)
        if _live(ours) or _live(theirs):
            return _difference(id_, ours, theirs, *_blame(ours, theirs))
        if missed is ahead.now:
            return None  # readers cannot tell a delete from another delete, or from an id that never existed
    common = _common(source, target)
    if common is None:
        return _difference(id_, source.now, target.now, Fault.UNDECIDED, "the id is being written")
    reason = content_difference(*common, tolerance)
    return _difference(id_, *common, Fault.CORRUPT, reason) if reason else None


def remembered(seen: Seen, other: State | None, limit: int) -> tuple[State, ...]:
    """The states of ``seen`` to keep for the next read: those that the other store, now at ``other``, has yet to reach.

    At most ``limit`` states, the oldest, because the other store reaches them first. Vectors are copied, so that one
    row does not keep its whole page in memory.
    """
    floor = _position(other)
    kept = [state for state in seen.earlier if state.position > floor][:limit]
    newest = seen.now
    if newest is not None and newest.position > max(floor, _position(kept[-1] if kept else None)) and len(kept) < limit:
        kept.append(replace(newest, vector=newest.vector.copy()))
    return tuple(kept)


def _missed(behind: Seen, ahead: Seen) -> State | None:
    """The newest state of ``ahead`` that ``behind`` does not show, although it has applied beyond it."""
    reached = _position(behind.now)
    missed = (state for state in ahead.states if reached < state.position < behind.applied)
    return max(missed, key=lambda state: state.position, default=None)


def _common(source: Seen, target: Seen) -> tuple[State, State] | None:
    """The states of both at the first position that both have shown."""
    theirs = {state.position: state for state in target.states}
    return next(((state, theirs[state.position]) for state in source.states if state.position in theirs), None)


def _position(state: State | None) -> int:
    return -1 if state is None else state.position  # positions are not negative


def _difference(id_: str, source: State | None, target: State | None, fault: Fault, reason: str) -> Difference:
    return Difference(
        id=id_,
        fault=fault,
        source_position=None if source is None else source.position,
        target_position=None if target is None else target.position,
        reason=reason,
    )


def _blame(source: State | None, target: State | None) -> tuple[Fault, str]:
    """The fault of two states at different positions that both stores have passed; at least one is a live row."""
    if source is None:
        return Fault.EXTRA, "the source does not know the id"
    if target is None:
        return Fault.MISSING, "the target does not know the id"
    if target.position > source.position:
        return Fault.STALE, "the source is older"
    if source.deleted:
        return Fault.EXTRA, "the source has deleted the id"
    return Fault.STALE, "the target is older" + (": it holds an earlier delete" if target.deleted else "")


def _live(state: State | None) -> bool:
    return state is not None and not state.deleted
