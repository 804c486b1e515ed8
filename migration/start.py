"""``start``: prepare the target, copy the source into it, wait until it is applied, build the index.

Every step is journaled when it is done, so that a killed ``start`` is simply run again and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from ..backfill.context import RunContext
from ..backfill.copying import copy_run
from ..backfill.progress import OnProgress, Progress
from ..backfill.runs import open_run
from ..backfill.waiting import wait_applied
from ..errors import Refused
from ..failpoints import hit
from ..schemas.control import MigrationRecord, RunRecord, migration_key, run_key
from .context import Context, opened
from .controller import Lease
from .gather import run_problems
from .preflight import refuse_unless_passed, store_check
from .state import read

Say = Callable[[str], None]


def start(
    context: Context, lease: Lease, *, say: Say, on_progress: OnProgress, timeout_s: float = math.inf
) -> MigrationRecord:
    """Do what is left of the first phase and return its last record.

    Blocks for as long as the copy takes, and then at most ``timeout_s`` until workers of the target have applied it.
    ``say`` gets one line per step, ``on_progress`` is called about every half second. Raises Refused (a problem of the
    target, or another controller took over), Inconclusive, Unavailable, and what the stores raise.
    """
    record = read(context.control, migration_key(context.name), MigrationRecord)
    if record is None:
        raise Refused(f"collection {context.name!r} is not enrolled; run `vecferry enrol {context.name}`")

    def report(progress: Progress) -> None:
        lease.check()
        on_progress(progress)

    if record.step in ("enrolled", "copying"):
        _prepare_target(context, say)
        hit("start.target-prepared")
        with open_run_context(context, lease) as run_context:
            record, run = _open(context, lease, run_context, record, say)
            if run.state == "copying":
                say(
                    f"copying about {run.estimated_rows} rows of {context.source} in {run.chunks} chunks, run {run.run}"
                )
                run = copy_run(run_context, run, report)
            hit("start.copied")
            say(f"waiting until {context.target} has applied run {run.run}")
            wait_applied(
                context.progress,
                collection=context.name,
                run=run,
                store_name=context.target,
                timeout_s=timeout_s,
                on_progress=report,
                clock=context.clock,
            )
        record = _journal(context, lease, record.model_copy(update={"step": "copied"}))
    if record.step == "copied":
        say(f"building the index of {context.target}")
        with opened(context.open_store, context.target) as store:
            store.build_index()
        lease.check()
        hit("start.index-built")
        record = _journal(context, lease, record.model_copy(update={"step": "indexed"}))
    return record


@contextmanager
def open_run_context(context: Context, lease: Lease) -> Iterator[RunContext]:
    """What the backfill works with; its source is opened for it alone and closed on leaving."""
    with closing(context.open_store(context.source)) as source:
        yield RunContext(
            config=context.config,
            collection=context.name,
            source_name=context.source,
            source=source,
            control=context.control,
            progress=context.progress,
            dead_letters=context.letters,
            writer=lease.writer,
            admin=context.admin,
            clock=context.clock,
        )


def _prepare_target(context: Context, say: Say) -> None:
    with opened(context.open_store, context.target) as store:
        refuse_unless_passed([store_check(context.target, store.check(), store.capabilities, context.collection)])
        say(f"preparing {context.target} (guarantee {store.capabilities.guarantee.value})")
        store.create(complete=False)


def _open(
    context: Context, lease: Lease, run_context: RunContext, record: MigrationRecord, say: Say
) -> tuple[MigrationRecord, RunRecord]:
    """The run to go on with: the one that the record names if it is closed and sound, else an open or a new one."""
    run = None if record.run is None else read(context.control, run_key(context.name, record.run), RunRecord)
    if run is not None and run.state == "closed":
        problems = run_problems(context, run)
        if not problems:
            return record, run
        say(f"run {run.run} can never be complete in {context.target} ({problems[0]}); copying anew")
    run = open_run(run_context, (context.target,))
    hit("start.run-opened")
    update = {"step": "copying", "run": run.run}
    return _journal(context, lease, record.model_copy(update=update)), run


def _journal(context: Context, lease: Lease, record: MigrationRecord) -> MigrationRecord:
    lease.write({migration_key(context.name): record})
    hit(f"start.{record.step}")
    return record
