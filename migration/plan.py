"""``plan``: what ``start`` would do, in numbers and statements. Pure; ``previewing.py`` gathers what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..journal.migration import MigrationRecord
from ..journal.run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """What is left to do for ``start``.

    steps          in order, in words; empty when nothing is left
    rows, chunks   of the copy: estimated for a new run, as planned for one that is open
    vector_bytes   of those rows, as float32; metadata comes on top
    guarantees     store -> atomic or single-writer
    max_growth     what the target takes at most, as a multiple of a fresh copy; None = the store sees to it
    statements     what the target would run, in order; empty when it is prepared
    remarks        store -> what is worth knowing, though it stands in nobody's way
    """

    collection: str
    source: str
    target: str
    steps: tuple[str, ...]
    run: str | None
    rows: int
    chunks: int
    chunk_rows: int
    partitions: int
    vector_bytes: int
    guarantees: Mapping[str, str]
    statements: tuple[str, ...]
    remarks: Mapping[str, tuple[str, ...]]
    max_growth: float | None = None


def remaining_steps(record: MigrationRecord, run: RunRecord | None, *, indexable: bool = True) -> tuple[str, ...]:
    """The steps that ``start`` would still take. Of vectors that are not ``indexable`` no index is built."""
    prepare = f"prepare {record.target}"
    anew = f"look through {record.source} for rows that cannot be copied, then copy it into a snapshot topic"
    copy = anew if run is None else f"go on with run {run.run}"
    wait = f"wait until {record.target} has applied the copy"
    index = f"build the index of {record.target}" if indexable else f"leave {record.target} without an index"
    match record.step:
        case "enrolled":
            return (prepare, copy, wait, index)
        case "copying":
            return (prepare, wait, index) if run is not None and run.state == "closed" else (prepare, copy, wait, index)
        case "copied":
            return (index,)
        case "indexed":
            return ()
