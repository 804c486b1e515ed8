"""``replay``: let another store read a run that was closed before, and wait until it holds all of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..backfill.context import Context, opened
from ..backfill.groups import refuse_traces
from ..backfill.progress import OnProgress, Progress
from ..backfill.replay import open_replay
from ..backfill.waiting import wait_applied
from ..journal.lease import Lease
from ..journal.run import RunRecord
from ..journal.runs import read_run
from .leaving import Say
from .preflight import refuse_unless_passed, store_checks


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What a replay would do. ``statements`` are those that the store would run, in order."""

    run: RunRecord
    into: str
    statements: tuple[str, ...]


def preview_replay(context: Context, run: str, into: str) -> ReplayPlan:
    """The plan; changes nothing. Raises Refused for an unknown run or a store that cannot hold the collection."""
    record = read_run(context.control, context.name, run)
    with opened(context.open_store, into) as store:
        refuse_unless_passed(store_checks(into, store.check(), store.capabilities, context.collection))
        refuse_traces(context.control, context.collection, into, store)
        return ReplayPlan(run=record, into=into, statements=store.create(complete=False, dry_run=True))


def replay(
    context: Context, lease: Lease, run: str, into: str, *, say: Say, on_progress: OnProgress, timeout_s: float
) -> RunRecord:
    """Make ``into`` a target of the closed ``run``, wait until it is applied, and build the index. Idempotent.

    Blocks, at most ``timeout_s`` for the worker of ``into``. Raises Refused with the remedy (retention has passed the
    run's fences, for one), Inconclusive, Unavailable, and what the store raises.
    """

    def report(progress: Progress) -> None:
        lease.check()
        on_progress(progress)

    with opened(context.open_store, into) as store:
        refuse_unless_passed(store_checks(into, store.check(), store.capabilities, context.collection))
        record = open_replay(context, lease.writer, run, into, store)
    lies_in = context.config.replica(context.name, into).store
    say(f"waiting until {into} has applied run {run}; it needs a running `vecferry worker --store {lies_in}`")
    with opened(context.open_store, into) as store:
        wait_applied(
            context.progress,
            collection=context.name,
            run=record,
            store_name=into,
            store=store,
            timeout_s=timeout_s,
            on_progress=report,
            clock=context.clock,
        )
    say(f"building the index of {into}")
    with opened(context.open_store, into) as store:
        store.build_index()
    return record
