"""``cancel``: give up the run under way, so that the next ``start`` plans another one with fences of its own.

Nothing of the run is taken back: rows that a store has applied passed the same guard as any write, and stay. What is
still in the snapshot topic is read by nobody any more, so no marker of the run can close it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..backfill.context import Context
from ..errors import Refused
from ..failpoints import hit
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.run import RunRecord, run_key
from ..journal.runs import read_runs
from .context import require_as_enrolled


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The runs that are given up, as they were, and the migration's record afterwards."""

    runs: tuple[RunRecord, ...]
    migration: MigrationRecord


def plan_cancel(collection: str, record: MigrationRecord | None, runs: Mapping[str, RunRecord]) -> Cancellation:
    """What cancelling takes. Pure. Raises Refused, with the remedy, when no run is under way.

    Under way is a run that is being copied, and one that is copied while ``start`` waits for the target to apply it.
    """
    if record is None:
        raise Refused(f"collection {collection!r} is not enrolled; run `vecferry enrol {collection}`")
    waiting = record.run if record.step == "copying" else None
    chosen = tuple(
        run for name, run in runs.items() if run.state == "copying" or (name == waiting and run.state == "closed")
    )
    if not chosen:
        raise Refused(
            f"no run of {collection} is under way; `vecferry status {collection}` shows where it stands, "
            f"`vecferry start {collection} --new-run` copies anew"
        )
    return Cancellation(runs=chosen, migration=_without_it(record, runs))


def _without_it(record: MigrationRecord, runs: Mapping[str, RunRecord]) -> MigrationRecord:
    """The migration as it was before the run: the target still holds an earlier one, if it ever applied one whole."""
    if record.step in ("copied", "indexed"):
        return record  # the mover died before it could name its run
    kept = runs.get(record.kept_run or "")
    back = {"step": "enrolled", "run": None}
    if kept is not None and kept.state == "closed":
        back = {"step": record.kept_step, "run": kept.run}
    return record.model_copy(update={**back, "kept_run": None, "kept_step": None})


def preview_cancellation(context: Context) -> Cancellation:
    """What cancelling would do now; changes nothing. Raises Refused."""
    record = require(context.control, migration_key(context.name), MigrationRecord)
    return plan_cancel(context.name, record, read_runs(context.control, context.name))


def cancel(context: Context, lease: Lease) -> Cancellation:
    """Journal the runs under way as cancelled and the migration as it was before them, in one transaction.

    Blocks for a few requests. A mover that was thought dead is fenced by the lease: it can close no run any more.
    Raises Refused when no run is under way, or when another controller has taken over; Unavailable.
    """
    require_as_enrolled(context)
    done = preview_cancellation(context)
    hit("cancel.planned")
    cancelled = {run_key(context.name, run.run): run.model_copy(update={"state": "cancelled"}) for run in done.runs}
    lease.write({**cancelled, migration_key(context.name): done.migration})
    hit("cancel.written")
    return done
