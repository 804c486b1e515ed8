"""Chunks of a store that reads its rows in the order of their ids: ranges of ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from ..errors import Fatal
from .base import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """A range of ids in the store's own order: ``lower`` exclusive, ``upper`` inclusive, None = open."""

    lower: str | None
    upper: str | None

    @classmethod
    def of(cls, chunk: Cursor) -> KeyRange:
        """The range that ``cut`` made a cursor of; Fatal for a cursor of something else."""
        match chunk:
            case [str() | None as lower, str() | None as upper]:
                return cls(lower=lower, upper=upper)
        raise Fatal(f"{chunk!r:.80} is no chunk of this store; plan the run again")


def cut(bounds: Iterable[str]) -> tuple[Cursor, ...]:
    """The ranges between ascending ``bounds``, open at both ends, as cursors: ``[lower, upper]``."""
    return tuple([lower, upper] for lower, upper in pairwise([None, *bounds, None]))


def key_of(cursor: Cursor) -> str | None:
    """The id that an export goes on behind, None from the beginning; Fatal for a cursor of something else."""
    if cursor is None or isinstance(cursor, str):
        return cursor
    raise Fatal(f"{cursor!r:.80} is no place in an export of this store; begin anew")
