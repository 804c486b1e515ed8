"""Whether two rows are the same content: vectors, metadata as JSON values, and what filters see of it. Pure.

A tolerance is relative to the scale of the vector: its largest component, by magnitude, in either store.

Equal positions must mean equal content; what different positions mean is in ``verdict``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from ..schemas.batch import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a store holds of one id: ``vector`` float32 [d] and ``metadata`` JSON text mean nothing when deleted.

    ``filtered``: the metadata as filters see it, None where they read the metadata itself.
    """

    position: int
    deleted: bool
    vector: NDArray[np.float32]
    metadata: bytes
    filtered: bytes | None = None


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
            filtered=None if rows.filtered is None else rows.filtered[row],
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
    for row in np.flatnonzero(equal).tolist():
        theirs_at = int(found[row])
        if (
            metadata_difference(source.metadata[row], target.metadata[theirs_at])
            or _misfiltered(source, row)
            or _misfiltered(target, theirs_at)
        ):
            equal[row] = False
    if twice:
        equal &= np.array([id_ not in twice for id_ in source.ids], np.bool_)
    return list(dict.fromkeys(source.ids[row] for row in np.flatnonzero(~equal)))


def within(left: NDArray[np.float32], right: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Per row, whether no component differs by more than ``tolerance`` times the scale of the row.

    NaN and infinity differ from everything.
    """
    close: NDArray[np.bool_] = (np.isfinite(left) & (left == right)).all(axis=1)
    rest = np.flatnonzero(~close)  # most vectors come back bit by bit
    if tolerance > 0 and len(rest):
        close[rest] = (_relative_gaps(left[rest], right[rest]) <= tolerance).all(axis=1)
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
        gaps = _relative_gaps(source.vector[None], target.vector[None])[0]
        worst = int(np.argmax(np.where(np.isfinite(gaps), gaps, np.inf)))
        pair = f"{source.vector[worst]:.9g} and {target.vector[worst]:.9g}"
        allowed = f", {gaps[worst]:.3g} of the vector's scale (tolerance {tolerance:g})" if tolerance else ""
        reasons.append(f"vector differs: component {worst} is {pair}{allowed}")
    for side, state in (("source", source), ("target", target)):
        if state.filtered is not None and (keys := filtered_difference(state.metadata, state.filtered)):
            reasons.append(f"filters of the {side} see something else: {keys}")
    return "; ".join(reasons)


def filtered_difference(metadata: bytes, filtered: bytes) -> str:
    """The top-level keys in which filters see something else than ``metadata`` says, or "".

    As :func:`metadata_difference`, but that whole numbers beyond 64 bits may be kept as the nearest float64.
    """
    return _differing_keys(metadata, filtered, orjson.loads)


def metadata_difference(left: bytes, right: bytes) -> str:
    """The top-level keys in which two JSON objects differ, or "". A key that is null counts as one that is missing.

    Values are equal as JSON values: order of keys does not matter, 1 equals 1.0, true does not equal 1, whole numbers
    are compared exactly at any size and others as the nearest float64, which is what stores keep.
    """
    return _differing_keys(left, right, json.loads)


def _differing_keys(left: bytes, right: bytes, parse: Callable[[bytes], object]) -> str:
    if left == right:
        return ""
    try:
        ours, theirs = _present(parse(left)), _present(parse(right))
    except ValueError as error:
        return f"not a JSON object ({error})"
    keys = sorted(key for key in ours.keys() | theirs.keys() if not _same(ours.get(key), theirs.get(key)))
    return ", ".join(keys)


def _misfiltered(rows: Rows, row: int) -> bool:
    return rows.filtered is not None and bool(filtered_difference(rows.metadata[row], rows.filtered[row]))


def _relative_gaps(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 [n, d]: how far the components are apart, as a share of the scale of their row."""
    ours, theirs = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which is within nothing
        gaps: NDArray[np.float64] = np.abs(ours - theirs)
        scale = np.maximum(np.abs(ours), np.abs(theirs)).max(axis=1, keepdims=True)
        return np.where(gaps == 0, 0.0, gaps / np.where(scale > 0, scale, 1.0))


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
