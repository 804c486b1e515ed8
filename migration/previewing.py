"""Looking at the stores and the journal for the plan of ``start``."""

from __future__ import annotations

from ..backfill.context import Context, opened
from ..errors import Refused
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.run import RunRecord, run_key
from .plan import StartPlan, remaining_steps
from .start import left_to_copy, refuse_run_under_way

_FLOAT_BYTES = 4


def preview_start(context: Context, *, new_run: bool = False) -> StartPlan:
    """The plan as things are now; changes nothing. Blocks while the source counts and divides its rows.

    Raises Refused for a collection that is not enrolled, Unavailable, and what the stores raise.
    """
    record = require(context.control, migration_key(context.name), MigrationRecord)
    if record is None:
        raise Refused(f"collection {context.name!r} is not enrolled; run `vecferry enrol {context.name}`")
    if new_run:
        refuse_run_under_way(context, record)
    if new_run or (record.step not in ("enrolled", "copying") and left_to_copy(context, record)):
        record = record.model_copy(update={"step": "copying", "run": None})
    run = None if record.run is None else require(context.control, run_key(context.name, record.run), RunRecord)
    dimension = context.collection.space.dimension
    with opened(context.open_store, context.source) as source, opened(context.open_store, context.target) as target:
        rows = source.count() if run is None else run.estimated_rows
        chunk_rows = context.config.backfill.chunk_rows if run is None else run.chunk_rows
        return StartPlan(
            collection=context.name,
            source=context.source,
            target=context.target,
            steps=remaining_steps(record, run, indexable=not target.capabilities.no_index(dimension)),
            run=None if run is None else run.run,
            rows=rows,
            chunks=len(source.plan_chunks(chunk_rows)) if run is None else run.chunks,
            chunk_rows=chunk_rows,
            partitions=context.collection.partitions,
            vector_bytes=rows * dimension * _FLOAT_BYTES,
            guarantees={
                context.source: source.capabilities.guarantee.value,
                context.target: target.capabilities.guarantee.value,
            },
            max_growth=target.capabilities.max_growth,
            statements=target.create(complete=False, dry_run=True),
            remarks={
                name: (*filter(None, [store.capabilities.no_index(dimension)]), *store.remarks())
                for name, store in ((context.source, source), (context.target, target))
            },
        )
