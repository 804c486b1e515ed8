"""Reading runs, plans and groups back from the control topic."""

from __future__ import annotations

from typing import assert_never

from ..errors import Refused
from ..log.port import Table
from ..stores.base import Cursor
from .reading import read_all, require, required
from .record import Known, Unknown
from .run import (
    ChunkDone,
    GroupRecord,
    PlanPage,
    RunRecord,
    chunk_key,
    from_pages,
    group_key,
    pages_of,
    plan_key,
    run_key,
)


def read_runs(control: Table, collection: str) -> dict[str, RunRecord]:
    """Every run of ``collection`` by its id; raises Refused, with the remedy, when one of them is Unknown."""
    return {run: required(found) for run, found in read_all(control, run_key(collection), RunRecord).items()}


def read_run(control: Table, collection: str, run: str) -> RunRecord:
    """The run called ``run``; raises Refused when there is none."""
    runs = read_all(control, run_key(collection), RunRecord)
    if run not in runs:
        known = f"known: {', '.join(runs)}" if runs else f"`vecferry start {collection}` makes the first one"
        raise Refused(f"collection {collection!r} has no run {run!r}; {known}")
    return required(runs[run])


def read_plan(control: Table, collection: str, run: RunRecord) -> tuple[Cursor, ...]:
    """The chunks of ``run``; raises Refused when the journal does not hold them all."""
    pages = [require(control, plan_key(collection, run.run, page), PlanPage) for page in range(pages_of(run.chunks))]
    chunks = from_pages([page for page in pages if page is not None])
    if len(chunks) != run.chunks:
        raise Refused(
            f"the plan of run {run.run} has {len(chunks)} of {run.chunks} chunks in the control topic; "
            f"the topic lost records: run `vecferry cancel {collection}`, then `vecferry start {collection}`"
        )
    return chunks


def read_done(control: Table, collection: str, run: str) -> dict[int, ChunkDone]:
    """The chunks of a run that Kafka has acknowledged, by their number."""
    found = read_all(control, chunk_key(collection, run), ChunkDone)
    return {int(chunk): required(done) for chunk, done in found.items()}


def read_group(control: Table, collection: str, store: str) -> GroupRecord | None:
    """Where the group of ``store`` began, or None if it never did."""
    return require(control, group_key(collection, store), GroupRecord)


class OpenRuns:
    """The runs of ``collection`` into ``store_name``; cheap to ask in every turn. Used by one thread."""

    def __init__(self, control: Table, collection: str, store_name: str) -> None:
        self._control = control
        self._collection = collection
        self._store_name = store_name
        self._changes = -1
        self._runs: tuple[RunRecord, ...] = ()

    def __call__(self) -> tuple[RunRecord, ...]:
        """By name; cancelled ones are left out, and those of which this version does not know what they are."""
        changes = self._control.changes  # before the records: what arrives in between is seen the next time
        if changes != self._changes:
            found = read_all(self._control, run_key(self._collection), RunRecord)
            self._runs = tuple(run for _, entry in sorted(found.items()) for run in self._wanted(entry))
            self._changes = changes
        return self._runs

    def _wanted(self, found: Known[RunRecord] | Unknown) -> tuple[RunRecord, ...]:
        match found:
            case Known(record=run):
                return (run,) if self._store_name in run.targets and run.state != "cancelled" else ()
            case Unknown():
                return ()  # nothing of it is lost: who knows it reads on from the store's mark
            case _:
                assert_never(found)
