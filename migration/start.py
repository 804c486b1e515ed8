"""``start``: prepare the target, copy the source into it, wait until it is applied, build the index.

Every step is journaled when it is done, so that a killed ``start`` is simply run again and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ..backfill.context import Context, Mover, opened
from ..backfill.copying import copy_run
from ..backfill.groups import begin_group
from ..backfill.progress import OnProgress, Progress
from ..backfill.runs import open_run
from ..backfill.waiting import wait_applied
from ..errors import Refused
from ..failpoints import hit
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.run import RunRecord, run_key
from ..journal.runs import read_group, read_runs
from ..wording import count
from .context import require_as_enrolled
from .gather import run_problems
from .leaving import LeftBehind, Say
from .preflight import refuse_unless_passed, store_checks
from .sampling import sampled_partitioner_check


def start(
    context: Context,
    lease: Lease,
    *,
    new_run: bool = False,
    skip_uncarried: bool = False,
    uncarried_file: Path | None = None,
    say: Say,
    on_progress: OnProgress,
    timeout_s: float = math.inf,
) -> MigrationRecord:
    """Do what is left of the first phase and return its last record. ``new_run``: copy again even if nothing is left.

    Before a new run is opened, the source is read once for rows that the log cannot carry. They are listed in
    ``uncarried_file``, as JSON lines; then nothing is copied, or all but them with ``skip_uncarried`` (or as
    ``[backfill]`` says).

    Blocks for as long as the copy takes, and then at most ``timeout_s`` until workers of the target have applied it.
    ``say`` gets one line per step, ``on_progress`` is called about every half second. Raises Refused (a problem of the
    target, or another controller took over), Inconclusive, Unavailable, and what the stores raise.
    """
    require_as_enrolled(context)
    record = require(context.control, migration_key(context.name), MigrationRecord)
    if record is None:
        raise Refused(f"collection {context.name!r} is not enrolled; run `vecferry enrol {context.name}`")

    def report(progress: Progress) -> None:
        lease.check()
        on_progress(progress)

    if new_run:
        refuse_run_under_way(context, record)
    if new_run or left_to_copy(context, record):
        skip = skip_uncarried or context.config.backfill.uncarried == "skip"
        left_behind = LeftBehind(skip=skip, file=uncarried_file)
        record = _copy(context, lease, record, say, report, left_behind, new_run=new_run, timeout_s=timeout_s)
    if record.step == "copied":
        record = _index(context, lease, record, say)
    elif record.step == "indexed":
        _mend_index(context, say)
    return record


def _copy(
    context: Context,
    lease: Lease,
    record: MigrationRecord,
    say: Say,
    report: OnProgress,
    left_behind: LeftBehind,
    *,
    new_run: bool,
    timeout_s: float,
) -> MigrationRecord:
    partitions = context.collection.partitions
    check = sampled_partitioner_check(context.log, context.events, partitions)
    refuse_unless_passed([check])
    _prepare_target(context, lease, say)
    hit("start.target-prepared")
    with open_mover(context, lease) as mover:
        record, run = _open(lease, mover, record, say, report, left_behind, new_run=new_run)
        if run.state == "copying":
            size = f"{count(run.estimated_rows, 'row')} of {context.source} in {count(run.chunks, 'chunk')}"
            say(f"copying about {size}, run {run.run}")
            run = copy_run(mover, run, report)
            if run.skipped:
                say(f"left {count(run.skipped, 'row')} of {context.source} behind that cannot be copied")
        hit("start.copied")
        say(f"waiting until {context.target} has applied run {run.run}")
        with opened(context.open_store, context.target) as store:
            wait_applied(
                context.progress,
                collection=context.name,
                run=run,
                store_name=context.target,
                store=store,
                timeout_s=timeout_s,
                on_progress=report,
                clock=context.clock,
            )
    done = {"step": "copied", "kept_run": None, "kept_step": None}
    return _journal(context, lease, record.model_copy(update=done))


def _index(context: Context, lease: Lease, record: MigrationRecord, say: Say) -> MigrationRecord:
    with opened(context.open_store, context.target) as store:
        no_index = store.capabilities.no_index(context.collection.space.dimension)
        say(f"{context.target}: {no_index}" if no_index else f"building the index of {context.target}")
        store.build_index()
    lease.check()
    hit("start.index-built")
    return _journal(context, lease, record.model_copy(update={"step": "indexed"}))


def _mend_index(context: Context, say: Say) -> None:
    """Nothing is left but what may have been lost since: somebody dropped the index."""
    with opened(context.open_store, context.target) as store:
        if not store.index_ready():
            say(f"building the index of {context.target} again")
            store.build_index()


def left_to_copy(context: Context, record: MigrationRecord) -> bool:
    """Whether a run is to be made or to be finished; also one whose mover died before it could name it."""
    return record.step in ("enrolled", "copying") or bool(_copying(read_runs(context.control, context.name)))


def _copying(runs: Mapping[str, RunRecord]) -> list[str]:
    return [name for name, run in runs.items() if run.state == "copying"]


def refuse_run_under_way(context: Context, record: MigrationRecord) -> None:
    """Raise Refused while a run is being copied, or is copied and on its way into the target."""
    runs = read_runs(context.control, context.name)
    under_way = _copying(runs)
    if (
        not under_way
        and record.step == "copying"
        and record.run in runs
        and not run_problems(context, runs[record.run])
    ):
        under_way = [record.run]
    if under_way:
        raise Refused(
            f"run {', '.join(under_way)} of {context.name} is under way; go on with `vecferry start {context.name}`, "
            f"or give it up with `vecferry cancel {context.name}`, and start anew"
        )


@contextmanager
def open_mover(context: Context, lease: Lease) -> Iterator[Mover]:
    """What a run works with; its source is opened for it alone and closed on leaving."""
    with opened(context.open_store, context.source) as source:
        yield Mover(context=context, source=source, writer=lease.writer, sender=context.log.sender(bulk=True))


def _prepare_target(context: Context, lease: Lease, say: Say) -> None:
    with opened(context.open_store, context.target) as store:
        refuse_unless_passed(store_checks(context.target, store.check(), store.capabilities, context.collection))
        say(f"preparing {context.target} (guarantee {store.capabilities.guarantee.value})")
        store.create(complete=False)
        group = read_group(context.control, context.name, context.target)
        if group is not None:  # a table that was lost begins where its group did, not at offset 0
            begin_group(context, lease.writer, context.target, store, group.live_start)


def _open(
    lease: Lease,
    mover: Mover,
    record: MigrationRecord,
    say: Say,
    report: OnProgress,
    left_behind: LeftBehind,
    *,
    new_run: bool,
) -> tuple[MigrationRecord, RunRecord]:
    """The run to go on with: the one that the record names if it is closed, sound and yet to be applied, else an open
    or a new one. The record changes only once there is one: a copy that is refused leaves everything as it was.
    """
    context = mover.context
    named = None if new_run or record.step != "copying" else record.run
    run = None if named is None else require(context.control, run_key(context.name, named), RunRecord)
    if run is not None and run.state == "closed":
        problems = run_problems(context, run)
        if not problems:
            return record, run
        say(f"run {run.run} can never be complete in {context.target} ({problems[0]}); copying anew")
    if not _copying(read_runs(context.control, context.name)):  # what is open was looked through before
        left_behind.look(mover, say, report)
    run = open_run(mover, (context.target,), skips=left_behind.skip)
    hit("start.run-opened")
    update: dict[str, str | None] = {"step": "copying", "run": run.run}
    if record.step in ("copied", "indexed"):
        update |= {"kept_run": record.run, "kept_step": record.step}  # what `cancel` goes back to
    return _journal(context, lease, record.model_copy(update=update), _given_up(context, run)), run


def _given_up(context: Context, successor: RunRecord) -> dict[str, RunRecord]:
    """The runs that the target can never close, without it among their targets: its worker is to read them no more."""
    return {
        run_key(context.name, name): run.model_copy(
            update={"targets": tuple(target for target in run.targets if target != context.target)}
        )
        for name, run in read_runs(context.control, context.name).items()
        if name != successor.run and context.target in run.targets and run_problems(context, run)
    }


def _journal(
    context: Context, lease: Lease, record: MigrationRecord, runs: Mapping[str, RunRecord] = MappingProxyType({})
) -> MigrationRecord:
    lease.write({**runs, migration_key(context.name): record})
    hit(f"start.{record.step}")
    return record
