"""The end of a run: the ledger against the stores and against what readers saw, put into the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from . import ledger
from .ledger import DELETE, UPSERT, Findings, State, compare
from .report import Report
from .staleness import Absence, Sighting, foreign, unexplained


class Holdings(Protocol):
    """A store as the checker reads it."""

    name: str

    def everything(self) -> dict[str, State]:
        """Every row, and every delete that is remembered."""
        ...


def final_comparison(
    report: Report, catalogue: dict[str, str], ledgers: Path, stores: Sequence[Holdings], window_s: tuple[float, float]
) -> list[str]:
    """Fill in ``lost``, ``resurrected``, ``writes`` and what was written within ``window_s``; returns examples."""
    entries = ledger.read(ledgers)
    expected = ledger.fold(catalogue, entries)
    findings = Findings()
    for store in stores:
        findings.add(compare(store.name, expected, store.everything()))
    report["lost"], report["resurrected"] = findings.lost, findings.resurrected
    report["writes"]["acknowledged"] = len(entries)
    began_s, ended_s = window_s
    during = [e for e in entries if e.id in catalogue and began_s <= e.acknowledged_s <= ended_s]
    report["exposure"]["updated_during_backfill"] = sum(entry.op == UPSERT for entry in during)
    report["exposure"]["deleted_during_backfill"] = sum(entry.op == DELETE for entry in during)
    return findings.examples


def judge_reads(
    report: Report, counts: dict[str, Any], catalogue: dict[str, str], ledgers: Path, sightings: Path
) -> list[str]:
    """Fill in ``reads``; returns examples of what was wrong."""
    entries = ledger.read(ledgers)
    rows, absences = _later(sightings)
    ghosts = [f"{a.id} was absent; no delete at or above {a.floor} explains it" for a in unexplained(absences, entries)]
    wrong = [f"{s.id} at {s.position} has content that nobody wrote there" for s in foreign(rows, catalogue, entries)]
    failures = [f"{number} reads: {reason}" for reason, number in counts["failures"].items()]
    stale = [*counts["stale"], *ghosts]
    report["reads"]["total"] = counts["total"]
    report["reads"]["failed"] = sum(counts["failures"].values()) + len(wrong)
    report["reads"]["stale"] = len(stale)
    report["exposure"]["reads_by_route"] |= counts["by_route"]
    report["exposure"]["token_reads_share"] = counts["token"] / counts["total"] if counts["total"] else 0.0
    return [f"read failed: {line}" for line in [*failures, *wrong][:5]] + [f"read stale: {line}" for line in stale[:5]]


def _later(directory: Path) -> tuple[list[Sighting], list[Absence]]:
    rows: list[Sighting] = []
    absences: list[Absence] = []
    for path in sorted(directory.glob("*.sightings")):
        for line in path.read_text().splitlines():
            document = json.loads(line)
            if document.pop("kind") == "row":
                rows.append(Sighting(**document))
            else:
                absences.append(Absence(**document))
    return rows, absences
