"""Reading the journal of runs and groups back from the control topic."""

from __future__ import annotations

from ..errors import Refused
from ..log.kafka.view import CompactedView
from ..schemas.control import (
    ChunkDone,
    GroupRecord,
    PlanPage,
    RunRecord,
    chunk_key,
    group_key,
    plan_key,
    run_key,
)
from ..stores.base import Cursor
from .plan import from_pages, pages_of


def read_runs(control: CompactedView, collection: str) -> dict[str, RunRecord]:
    """Every run of ``collection`` by its id."""
    return {
        key.removeprefix(run_key(collection)): RunRecord.model_validate_json(value)
        for key, value in control.items(run_key(collection)).items()
    }


def read_run(control: CompactedView, collection: str, run: str) -> RunRecord:
    """The run called ``run``; raises Refused when there is none."""
    runs = read_runs(control, collection)
    if run not in runs:
        known = f"known: {', '.join(runs)}" if runs else f"`vecferry start {collection}` makes the first one"
        raise Refused(f"collection {collection!r} has no run {run!r}; {known}")
    return runs[run]


def read_plan(control: CompactedView, collection: str, run: RunRecord) -> tuple[Cursor, ...]:
    """The chunks of ``run``; raises Refused when the journal does not hold them all."""
    pages = [control.get(plan_key(collection, run.run, page)) for page in range(pages_of(run.chunks))]
    chunks = from_pages([PlanPage.model_validate_json(page) for page in pages if page is not None])
    if len(chunks) != run.chunks:
        raise Refused(
            f"the plan of run {run.run} has {len(chunks)} of {run.chunks} chunks in the control topic; "
            f"the topic lost records: run `vecferry cancel {collection}`, then `vecferry start {collection}`"
        )
    return chunks


def read_done(control: CompactedView, collection: str, run: str) -> dict[int, ChunkDone]:
    """The chunks of a run that Kafka has acknowledged, by their number."""
    prefix = chunk_key(collection, run)
    return {
        int(key.removeprefix(prefix)): ChunkDone.model_validate_json(value)
        for key, value in control.items(prefix).items()
    }


def read_group(control: CompactedView, collection: str, store: str) -> GroupRecord | None:
    """Where the group of ``store`` began, or None if it never did."""
    value = control.get(group_key(collection, store))
    return None if value is None else GroupRecord.model_validate_json(value)
