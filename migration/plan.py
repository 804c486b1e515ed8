"""``plan``: what ``start`` would do, in numbers and statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import Refused
from ..schemas.control import MigrationRecord, RunRecord, migration_key, run_key
from .context import Context, opened
from .start import left_to_copy, refuse_run_under_way
from .state import read

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """What is left to do for ``start``.

    steps          in order, in words; empty when nothing is left
    rows, chunks   of the copy: estimated for a new run, as planned for one that is open
    vector_bytes   of those rows, as float32; metadata comes on top
    guarantees     store -> atomic or single-writer
    statements     what the target would run, in order; empty when it is prepared
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


def remaining_steps(record: MigrationRecord, run: RunRecord | None) -> tuple[str, ...]:
    """The steps that ``start`` would still take."""
    prepare = f"prepare {record.target}"
    copy = f"copy {record.source} into a snapshot topic" if run is None else f"go on with run {run.run}"
    wait = f"wait until {record.target} has applied the copy"
    index = f"build the index of {record.target}"
    match record.step:
        case "enrolled":
            return (prepare, copy, wait, index)
        case "copying":
            return (prepare, wait, index) if run is not None and run.state == "closed" else (prepare, copy, wait, index)
        case "copied":
            return (index,)
        case "indexed":
            return ()


def preview(context: Context, *, new_run: bool = False) -> StartPlan:
    """The plan as things are now; changes nothing. Blocks while the source counts and divides its rows.

    Raises Refused for a collection that is not enrolled, Unavailable, and what the stores raise.
    """
    record = read(context.control, migration_key(context.name), MigrationRecord)
    if record is None:
        raise Refused(f"collection {context.name!r} is not enrolled; run `vecferry enrol {context.name}`")
    if new_run:
        refuse_run_under_way(context, record)
    if new_run or (record.step not in ("enrolled", "copying") and left_to_copy(context, record)):
        record = record.model_copy(update={"step": "copying", "run": None})
    run = None if record.run is None else read(context.control, run_key(context.name, record.run), RunRecord)
    with opened(context.open_store, context.source) as source, opened(context.open_store, context.target) as target:
        rows = source.count() if run is None else run.estimated_rows
        chunk_rows = context.config.backfill.chunk_rows if run is None else run.chunk_rows
        return StartPlan(
            collection=context.name,
            source=context.source,
            target=context.target,
            steps=remaining_steps(record, run),
            run=None if run is None else run.run,
            rows=rows,
            chunks=len(source.plan_chunks(chunk_rows)) if run is None else run.chunks,
            chunk_rows=chunk_rows,
            partitions=context.collection.partitions,
            vector_bytes=rows * context.collection.space.dimension * _FLOAT_BYTES,
            guarantees={
                context.source: source.capabilities.guarantee.value,
                context.target: target.capabilities.guarantee.value,
            },
            statements=target.create(complete=False, dry_run=True),
        )
