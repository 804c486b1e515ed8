"""Why a row of a store cannot go through the log. Pure.

One answer for the scan before a copy, for the copy itself, and for a comparison of two stores.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import numpy as np
import orjson
from numpy.typing import NDArray

from ..schemas.batch import Rows
from ..schemas.collection import MAX_ID_BYTES, MAX_METADATA_DEPTH, MAX_RECORD_BYTES, Collection, IdType
from ..schemas.columns import all_finite, are_shallow, are_utf8
from ..schemas.snapshot import largest_row, row_bytes, row_sizes

_LOOSE_COLONS = (b" :", b"\t:", b"\r:", b"\n:")
_BIGINT = re.compile(r"0|-?[1-9][0-9]{0,18}")


class Cause(StrEnum):
    """What stands in the way of a row."""

    ID = "id cannot be a key"
    NO_VECTOR = "no vector of the collection's dimension"
    NOT_FINITE = "vector is not finite"
    NO_DIRECTION = "vector has no direction for cosine"
    NOT_A_NUMBER = "metadata holds NaN or infinity"
    NOT_JSON = "metadata is no JSON object"
    TOO_DEEP = "metadata is nested too deep"
    KEY_TWICE = "metadata holds a key twice"
    NUL = "metadata holds NUL in a text"
    TOO_LARGE = "larger than a message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why one row cannot be carried; ``detail`` says what was found."""

    cause: Cause
    detail: str


def uncarried(rows: Rows, collection: Collection, max_bytes: int = MAX_RECORD_BYTES) -> dict[int, Obstacle]:
    """The rows (live ones) that cannot be carried, by number, each with the first thing that stands in its way.

    ``max_bytes``: what one message may take.
    """
    found: dict[int, Obstacle] = {}
    limit = largest_row(collection, max_bytes)
    for row, obstacle in chain(
        _ids(rows, collection), _vectors(rows, collection), _sizes(rows, collection, limit), _metadata(rows)
    ):
        found.setdefault(row, obstacle)
    return found


def _ids(rows: Rows, collection: Collection) -> Iterator[tuple[int, Obstacle]]:
    joined = "".join(rows.ids)
    plain = collection.id_type == "text" and joined.isascii() and "\0" not in joined
    if plain and all(rows.ids) and max(map(len, rows.ids), default=0) <= MAX_ID_BYTES:
        return
    for row, id_ in enumerate(rows.ids):
        problem = _id_problem(id_, collection.id_type)
        if problem:
            yield row, Obstacle(cause=Cause.ID, detail=problem)


def _id_problem(id_: str, id_type: IdType) -> str:
    try:
        size = len(id_.encode())
    except UnicodeEncodeError:
        return "the id is not UTF-8"
    if not 1 <= size <= MAX_ID_BYTES:
        return f"the id takes {size} bytes; an id has 1 to {MAX_ID_BYTES}"
    if "\0" in id_:
        return "the id holds NUL"
    return "" if is_canonical(id_, id_type) else f"the id is no {id_type} in canonical form"


def is_canonical(id_: str, id_type: IdType) -> bool:
    """Whether ``id_`` is what a column of ``id_type`` gives back: ``007`` is no bigint."""
    match id_type:
        case "text":
            return True
        case "bigint":
            return _BIGINT.fullmatch(id_) is not None and -(2**63) <= int(id_) < 2**63
        case "uuid":
            try:
                return str(uuid.UUID(id_)) == id_
            except ValueError:
                return False


def _vectors(rows: Rows, collection: Collection) -> Iterator[tuple[int, Obstacle]]:
    vectors = rows.vectors
    finite = all_finite(vectors)
    for row in np.flatnonzero(~finite).tolist():
        bad = np.flatnonzero(~np.isfinite(vectors[row]))
        if np.isnan(vectors[row]).all():
            detail = f"the row has no vector of {collection.space.dimension} dimensions"
            yield row, Obstacle(cause=Cause.NO_VECTOR, detail=detail)
        else:
            detail = f"element {bad[0]} of the vector is {vectors[row, bad[0]]}"
            yield row, Obstacle(cause=Cause.NOT_FINITE, detail=detail)
    if collection.space.metric != "cosine":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        squares: NDArray[np.float32] = np.einsum("ij,ij->i", vectors, vectors)
    for row in np.flatnonzero(finite & ~((squares > 0) & (squares < np.inf))).tolist():
        detail = "the vector is zero" if not vectors[row].any() else "the squared length of the vector leaves float32"
        yield row, Obstacle(cause=Cause.NO_DIRECTION, detail=detail)


def _sizes(rows: Rows, collection: Collection, limit: int) -> Iterator[tuple[int, Obstacle]]:
    widest = 4 * max(map(len, rows.ids), default=0) + max(map(len, rows.metadata), default=0)
    if row_bytes(collection) + widest <= limit:  # no character takes more than four bytes
        return
    sizes = row_sizes(rows, collection)
    for row in np.flatnonzero(sizes > limit).tolist():
        yield row, Obstacle(cause=Cause.TOO_LARGE, detail=f"the row takes {sizes[row]} bytes; a message holds {limit}")


def _metadata(rows: Rows) -> Iterator[tuple[int, Obstacle]]:
    if _are_plain(rows.metadata):
        return
    shallow = are_shallow(rows.metadata, MAX_METADATA_DEPTH + 1)
    for row, text in enumerate(rows.metadata):
        if not shallow[row]:
            detail = f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels"
            yield row, Obstacle(cause=Cause.TOO_DEEP, detail=detail)
            continue
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield row, _not_json(text, str(error))
            continue
        if type(document) is not dict:
            yield row, Obstacle(cause=Cause.NOT_JSON, detail=f"metadata is a {type(document).__name__}, not an object")
        elif _may_hide(text, _keys(document)):
            yield from ((row, obstacle) for obstacle in _hidden(text))


def _are_plain(texts: list[bytes]) -> bool:
    """Whether all ``texts`` are flat JSON objects without anything strange; nearly always decides, in one pass.

    Every text begins with the only ``{`` that it has, so each object of the list begins and ends in a text of its own.
    """
    joined = b",\n".join(texts)
    if b"[" in joined or joined.count(b"{") != len(texts) or [text[:1] for text in texts].count(b"{") != len(texts):
        return False
    try:
        documents = orjson.loads(b"[%s]" % joined)
    except orjson.JSONDecodeError:
        return False
    return len(documents) == len(texts) and not _may_hide(joined, sum(map(len, documents)))


def _may_hide(text: bytes, keys: int) -> bool:
    """Whether JSON that parses to ``keys`` keys may hold one twice, or NUL.

    Every key has a colon. Texts may hold colons too, so the closing quote before it counts where all colons do not.
    """
    if b"\\" in text and b"\\u0000" in text:
        return True
    if text.count(b":") == keys:
        return False
    return text.count(b'":') != keys or any(colon in text for colon in _LOOSE_COLONS)


def _keys(value: object) -> int:
    """The keys of all objects in ``value``."""
    if type(value) is dict:
        return len(value) + sum(_keys(inner) for inner in value.values() if type(inner) in (dict, list))
    return sum(map(_keys, value)) if type(value) is list else 0


def _hidden(text: bytes) -> Iterator[Obstacle]:
    """What a parser passes over in valid JSON."""
    twice: list[str] = []

    def pairs(members: list[tuple[str, object]]) -> dict[str, object]:
        document = dict(members)
        if len(document) < len(members):
            names = [name for name, _ in members]
            twice.extend(name for name in document if names.count(name) > 1)
        return document

    document = json.loads(text, object_pairs_hook=pairs)
    if twice:
        yield Obstacle(cause=Cause.KEY_TWICE, detail=f"metadata holds {twice[0]!r} more than once")
    elif b"\\u0000" in text and _holds_nul(document):
        yield Obstacle(cause=Cause.NUL, detail="metadata holds NUL in a text")


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def _not_json(text: bytes, problem: str) -> Obstacle:
    """Why ``text`` is no JSON; numbers that are not finite, which many a store holds, are told apart."""
    strange: list[str] = []

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            strange.append(digits)
        return value

    if are_utf8([text]).all():
        try:
            json.loads(text, parse_constant=strange.append, parse_float=number)
        except ValueError:
            strange = []
    if strange:
        return Obstacle(cause=Cause.NOT_A_NUMBER, detail=f"metadata holds {strange[0]:.20}, which JSON cannot say")
    return Obstacle(cause=Cause.NOT_JSON, detail=f"metadata is not JSON: {problem}")


def counted(causes: Mapping[str, int]) -> str:
    """``2 x metadata holds NaN or infinity, 1 x larger than a message``: the most frequent first."""
    ordered = sorted(causes.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} x {cause}" for cause, number in ordered)
