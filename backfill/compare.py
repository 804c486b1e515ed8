"""Whether two stores hold the same of an id. Pure: positions, content, and what a difference means.

Equal positions must mean equal content. Different ones are only a difference once the older store is known to have
applied more than the newer position: before that, the other one is simply ahead.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import Rows
from ..schemas.partitioner import murmur2


class Fault(StrEnum):
    """What is wrong with an id."""

    MISSING = "missing"  # a row of the source that the target does not know
    EXTRA = "extra"  # a row of the target that the source does not have
    STALE = "stale"  # one of the two holds an older state than the other
    CORRUPT = "corrupt"  # both hold the same position, and different content; or one of them holds the id twice
    UNDECIDED = "undecided"  # the id kept changing, or a store did not keep up


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a store holds of one id: ``vector`` float32 [d] and ``metadata`` JSON text mean nothing when deleted."""

    position: int
    deleted: bool
    vector: NDArray[np.float32]
    metadata: bytes


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
    earlier   states of earlier reads that the other store had not come to by then, oldest first
    twice     it was met more than once in one read
    """

    now: State | None
    applied: int
    earlier: tuple[State, ...] = ()
    twice: bool = False

    @property
    def states(self) -> tuple[State, ...]:
        """All of them, oldest first."""
        return self.earlier if self.now is None else (*self.earlier, self.now)


def repeated(ids: Sequence[str]) -> frozenset[str]:
    """The ids that are met more than once."""
    if len(set(ids)) == len(ids):
        return frozenset()
    return frozenset(id_ for id_, times in Counter(ids).items() if times > 1)


def states_of(rows: Rows) -> dict[str, State]:
    """``rows`` by id; the vectors are views."""
    return {
        id_: State(
            position=int(rows.positions[row]),
            deleted=bool(rows.deleted[row]),
            vector=rows.vectors[row],
            metadata=rows.metadata[row],
        )
        for row, id_ in enumerate(rows.ids)
    }


def suspects(source: Rows, target: Rows, tolerance: float) -> list[str]:
    """The ids of ``source`` (live rows) that ``target``, fetched for the same ids, does not hold in equal form.

    What a page is checked with: vectors of the whole page at once. An id that passes here is equal, at equal positions,
    and once on either side.
    """
    twice = repeated(source.ids) | repeated(target.ids)
    row_of = {id_: row for row, id_ in enumerate(target.ids)}
    found = np.fromiter((row_of.get(id_, -1) for id_ in source.ids), np.int64, len(source))
    known = found >= 0
    equal = known.copy()
    ours, theirs = np.flatnonzero(known), found[known]
    equal[ours] = (source.positions[ours] == target.positions[theirs]) & (
        source.deleted[ours] == target.deleted[theirs]
    )
    ours, theirs = np.flatnonzero(equal), found[equal]
    equal[ours] = within(source.vectors[ours], target.vectors[theirs], tolerance)
    for row in np.flatnonzero(equal):
        if metadata_difference(source.metadata[row], target.metadata[found[row]]):
            equal[row] = False
    if twice:
        equal &= np.array([id_ not in twice for id_ in source.ids], np.bool_)
    return list(dict.fromkeys(source.ids[row] for row in np.flatnonzero(~equal)))


def within(left: NDArray[np.float32], right: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Per row, whether every component differs by at most ``tolerance``. NaN and infinity differ from everything."""
    close: NDArray[np.bool_] = (np.isfinite(left) & (left == right)).all(axis=1)
    rest = np.flatnonzero(~close)  # most vectors come back bit by bit
    close[rest] = (_gaps(left[rest], right[rest]) <= tolerance).all(axis=1)
    return close


def judge(id_: str, source: Seen, target: Seen, tolerance: float) -> Difference | None:
    """What is wrong with ``id_``, by all that both stores have shown of it; None when nothing is.

    A state that one store has shown and the other one should have reached, but had not, is a fault, however often the
    id is written. Otherwise the content at the first position that both have shown decides, for good. UNDECIDED as long
    as there is neither: the id is being written and has to be read again.
    """
    if source.now is None and target.now is None:
        return None
    if source.twice or target.twice:
        sides = [name for name, seen in (("source", source), ("target", target)) if seen.twice]
        return _difference(id_, source.now, target.now, Fault.CORRUPT, f"held twice by the {' and the '.join(sides)}")
    for behind, ahead in ((target, source), (source, target)):
        missed = _missed(behind, ahead)
        if missed is None:
            continue
        ours, theirs = (missed, behind.now) if behind is target else (behind.now, missed)
        if _live(ours) or _live(theirs):
            return _difference(id_, ours, theirs, *_blame(ours, theirs))
        if missed is ahead.now:
            return None  # to a reader, a delete is the same as another delete and as an id that was never heard of
    common = _common(source, target)
    if common is None:
        return _difference(id_, source.now, target.now, Fault.UNDECIDED, "the id is being written")
    reason = content_difference(*common, tolerance)
    return _difference(id_, *common, Fault.CORRUPT, reason) if reason else None


def remembered(seen: Seen, other: State | None, limit: int) -> tuple[State, ...]:
    """What of ``seen`` is worth keeping for the next look: what the other store, now at ``other``, has yet to come to.

    At most ``limit`` states, and the oldest: those are the ones that the other store reaches first. The vectors are
    copies, so that no page is held by one row of it.
    """
    floor = _position(other)
    kept = [state for state in seen.earlier if state.position > floor][:limit]
    newest = seen.now
    if newest is not None and newest.position > max(floor, _position(kept[-1] if kept else None)) and len(kept) < limit:
        kept.append(replace(newest, vector=newest.vector.copy()))
    return tuple(kept)


def _missed(behind: Seen, ahead: Seen) -> State | None:
    """The newest state of ``ahead`` that ``behind`` is past, by what it says of itself, and yet does not show."""
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


def content_difference(source: State, target: State, tolerance: float) -> str:
    """How two states at one position differ, or "" when they do not."""
    if source.deleted or target.deleted:
        if source.deleted == target.deleted:
            return ""
        live, gone = ("target", "source") if source.deleted else ("source", "target")
        return f"a row in the {live}, deleted in the {gone}"
    apart = metadata_difference(source.metadata, target.metadata)
    reasons = [f"metadata differs: {apart}"] if apart else []
    if not within(source.vector[None], target.vector[None], tolerance)[0]:
        gaps = _gaps(source.vector, target.vector)
        worst = int(np.argmax(np.where(np.isfinite(gaps), gaps, np.inf)))
        reasons.append(f"vector differs: component {worst} by {gaps[worst]:.3g} (tolerance {tolerance:g})")
    return "; ".join(reasons)


def metadata_difference(left: bytes, right: bytes) -> str:
    """The top-level keys in which two JSON objects differ, or "". A key that is null counts as one that is missing.

    Values are equal as JSON values: order of keys does not matter, 1 equals 1.0, true does not equal 1, whole numbers
    are compared exactly at any size and others as the nearest float64, which is what stores keep.
    """
    if left == right:
        return ""
    try:
        ours, theirs = _present(json.loads(left)), _present(json.loads(right))
    except ValueError as error:
        return f"not a JSON object ({error})"
    keys = sorted(key for key in ours.keys() | theirs.keys() if not _same(ours.get(key), theirs.get(key)))
    return ", ".join(keys)


def _gaps(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which is within nothing
        gaps: NDArray[np.float64] = np.abs(left.astype(np.float64) - right.astype(np.float64))
    return gaps


def _blame(source: State | None, target: State | None) -> tuple[Fault, str]:
    """At different positions, which both stores are past, and at least one of the two a live row."""
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


def _present(document: object) -> Mapping[str, object]:
    if not isinstance(document, dict):
        raise ValueError(f"found a {type(document).__name__}")
    return {key: value for key, value in document.items() if value is not None}


def _same(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return left == right  # Python compares int with float exactly


def sampled(ids: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which of ``ids`` fall into a sample of ``share`` (0 to 1): by a hash of id and seed, the same in every store."""
    hashes = murmur2([f"{seed}:{id_}".encode() for id_ in ids])
    return hashes < share * 2**32
