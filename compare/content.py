"""Whether two rows are the same content: vectors within a tolerance, metadata as JSON values. Pure.

Equal positions must mean equal content; what different positions mean is in ``verdict``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a store holds of one id: ``vector`` float32 [d] and ``metadata`` JSON text mean nothing when deleted."""

    position: int
    deleted: bool
    vector: NDArray[np.float32]
    metadata: bytes


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
