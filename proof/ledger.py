"""The record of what was acknowledged, what must follow from it, and what a store holds against it.

A writer appends one line per acknowledged write to a file of its own. Positions order the writes of an id, whoever
made them; the state of an id is its write with the highest position, over the row that the catalogue began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BASE = -1  # stands for the position of a row that was never written through the pipeline
UPSERT, DELETE = "upsert", "delete"

_MAX_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One acknowledged write. ``content`` is the digest of the row, None for a delete; times are Unix seconds."""

    id: str
    op: str
    partition: int
    position: int
    content: str | None
    sent_s: float
    acknowledged_s: float

    def line(self) -> str:
        """As one line of a ledger file."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a store should hold of an id, or holds: ``content`` None = deleted."""

    position: int
    content: str | None


def digest(vector: NDArray[np.float32], metadata: Mapping[str, Any]) -> str:
    """One text for a row's content: every bit of the float32 vector, and the metadata without its nulls."""
    present = {key: value for key, value in metadata.items() if value is not None}
    text = json.dumps(present, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.blake2b(np.ascontiguousarray(vector, dtype="<f4").tobytes() + text, digest_size=16).hexdigest()


def parse(line: str) -> Entry:
    """The inverse of :meth:`Entry.line`."""
    return Entry(**json.loads(line))


def read(directory: Path) -> list[Entry]:
    """Every entry of every ledger file of ``directory``."""
    return [parse(line) for path in sorted(directory.glob("*.ledger")) for line in path.read_text().splitlines()]


def fold(catalogue: Mapping[str, str], entries: Iterable[Entry]) -> dict[str, State]:
    """Id -> the state that follows from ``catalogue`` (id -> content) and ``entries``, in whatever order they come."""
    states = {id_: State(position=BASE, content=content) for id_, content in catalogue.items()}
    for entry in entries:
        known = states.get(entry.id)
        if known is None or entry.position > known.position:
            states[entry.id] = State(position=entry.position, content=entry.content)
    return states


class Tail:
    """Reads what was appended to the ledger files of a directory since the last look."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_bytes: dict[Path, int] = {}

    def new(self) -> list[Entry]:
        """Entries that were not handed out yet; a line that is still being written waits for the next look."""
        found = []
        for path in sorted(self._directory.glob("*.ledger")):
            with path.open("rb") as file:
                file.seek(self._read_bytes.get(path, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read_bytes[path] = self._read_bytes.get(path, 0) + len(whole)
            found += [parse(line) for line in whole.decode().splitlines()]
        return found


@dataclass(slots=True, kw_only=True)
class Findings:
    """``lost``: an acknowledged state is missing, older or of other content. ``resurrected``: a row too many.

    ``examples`` are lines for people.
    """

    lost: int = 0
    resurrected: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Take over what ``other`` found."""
        self.lost += other.lost
        self.resurrected += other.resurrected
        self.examples = [*self.examples, *other.examples][:_MAX_EXAMPLES]

    def note(self, line: str) -> None:
        """Keep ``line`` as an example while there are few."""
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(line)


def compare(store: str, expected: Mapping[str, State], found: Mapping[str, State]) -> Findings:
    """What is wrong with ``found``, all that ``store`` holds, deletes that it remembers included."""
    findings = Findings()
    for id_, wanted in expected.items():
        held = found.get(id_)
        if wanted.content is None:
            if held is not None and held.content is not None:
                findings.resurrected += 1
                findings.note(f"{store}: {id_} was deleted at {_at(wanted)} and is there, at {_at(held)}")
            continue
        problem = _problem(wanted, held)
        if problem:
            findings.lost += 1
            findings.note(f"{store}: {id_} {problem}")
    for id_ in found.keys() - expected.keys():
        if found[id_].content is not None:
            findings.resurrected += 1
            findings.note(f"{store}: {id_} is there, and nobody wrote it")
    return findings


def _problem(wanted: State, held: State | None) -> str:
    """What is wrong with ``held`` where the row ``wanted`` must be, or ""."""
    if held is None:
        return f"is absent, wanted at {_at(wanted)}"
    if held.content is None:
        return f"is deleted at {_at(held)}, wanted at {_at(wanted)}"
    if held.position != wanted.position:
        return f"is at {_at(held)}, wanted at {_at(wanted)}"
    return "" if held.content == wanted.content else f"has other content than was written at {_at(wanted)}"


def _at(state: State) -> str:
    return "its first state" if state.position == BASE else f"position {state.position}"
