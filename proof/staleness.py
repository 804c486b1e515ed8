"""When is what a reader saw too old? Pure rules, judged without vecferry's help.

*Stale* is older than the token that was asked for, or than what the same session had already seen of the id. A row is
judged at once. An absence is only right if a delete explains it: that is judged at the end, when the ledger is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from .ledger import BASE, DELETE, Entry

UNKNOWN = -2  # below BASE: nothing is known that would make an absence wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """An id was not there in a read that ended at ``read_s``; only a delete at or above ``floor`` makes that right."""

    id: str
    floor: int
    read_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A row that a ``get`` returned."""

    id: str
    position: int
    content: str


class Memory:
    """What one session has seen: id -> the highest position, and whether the id was absent after it."""

    def __init__(self, catalogue: Container[str]) -> None:
        self._catalogue = catalogue
        self._seen: dict[str, tuple[int, bool]] = {}

    def present(self, id_: str, position: int, wanted: int = UNKNOWN) -> bool:
        """The session saw ``id_`` at ``position``, having asked for at least ``wanted``. Whether that is stale."""
        seen, was_absent = self._seen.get(id_, (UNKNOWN, False))
        stale = position < max(wanted, seen) or (was_absent and position <= seen)
        if position >= seen:
            self._seen[id_] = (position, False)
        return stale

    def absent(self, id_: str, read_s: float, wanted: int = UNKNOWN) -> Absence | None:
        """The session did not find ``id_``. What must be judged at the end; None if nothing speaks against it."""
        seen, _ = self._seen.get(id_, (BASE if id_ in self._catalogue else UNKNOWN, False))
        floor = max(seen, wanted)
        if floor == UNKNOWN:
            return None
        self._seen[id_] = (floor, True)
        return Absence(id=id_, floor=floor, read_s=read_s)


def unexplained(absences: Iterable[Absence], entries: Iterable[Entry]) -> list[Absence]:
    """The ``absences`` that no delete explains: at or above the floor, and sent before the read ended."""
    deletes: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.op == DELETE:
            deletes[entry.id].append(entry)
    return [
        absence
        for absence in absences
        if not any(d.position >= absence.floor and d.sent_s <= absence.read_s for d in deletes[absence.id])
    ]


def foreign(sightings: Iterable[Sighting], catalogue: Mapping[str, str], entries: Iterable[Entry]) -> list[Sighting]:
    """The ``sightings`` whose content is not what was acknowledged at their position."""
    written = {(entry.id, entry.position): entry.content for entry in entries}
    written |= {(id_, BASE): content for id_, content in catalogue.items()}
    return [seen for seen in sightings if written.get((seen.id, seen.position)) != seen.content]
