"""The verdict on two stores, from the fold of the ledger and the checker's own reading of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger import BASE, State

_MAX_EXAMPLES = 10


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
