"""Letting a further store read a run that was closed long ago: reindexing, or one more store."""

from __future__ import annotations

from ..errors import Refused
from ..journal.run import RunRecord, run_key
from ..journal.runs import read_group, read_run
from ..log.port import Writer
from ..schemas.topics import snapshot_topic
from ..stores.base import Store
from ..wording import count, partitions
from .context import Context
from .groups import begin_group, late_partitions, refuse_traces


def open_replay(context: Context, writer: Writer, run_id: str, store_name: str, target: Store) -> RunRecord:
    """Make ``target``, the store called ``store_name``, a target of the closed run ``run_id``.

    Idempotent, killable at any point. Blocks. Creates the store's table (incomplete until it has applied the run),
    begins its group at the run's fences, and adds it to the run; a worker of the store does the rest, and
    ``wait_applied`` waits for it. Raises Refused with the remedy when the run cannot be replayed any more, or not into
    this store.
    """
    context.control.sync()
    run = read_run(context.control, context.name, run_id)
    problems = _problems_of_run(context, run, store_name) or _problems_of_topics(context, run, store_name)
    if problems:
        raise Refused(problems)
    refuse_traces(context.control, context.collection, store_name, target)
    target.create(complete=False)
    begin_group(context, writer, store_name, target, run.fences)
    if store_name in run.targets:
        return run
    widened = run.model_copy(update={"targets": (*run.targets, store_name)})
    writer.write({run_key(context.name, run_id): widened})
    return widened


def _problems_of_run(context: Context, run: RunRecord, store_name: str) -> list[str]:
    collection = context.collection
    anew = _anew(context)
    problems = []
    if run.state != "closed":
        remedy = f"let `vecferry start {context.name}` finish it first" if run.state == "copying" else anew
        problems.append(f"run {run.run} is {run.state}, only a closed run can be replayed; {remedy}")
    if run.source == store_name:
        problems.append(f"run {run.run} was copied from {store_name} itself; name another store")
    if (run.epoch, run.partitions) != (collection.epoch, collection.partitions):
        problems.append(
            f"run {run.run} belongs to epoch {run.epoch} with {count(run.partitions, 'partition')}, the collection is "
            f"in epoch {collection.epoch} with {collection.partitions}; {anew}"
        )
    return problems


def _problems_of_topics(context: Context, run: RunRecord, store_name: str) -> list[str]:
    live, snapshot = context.events, snapshot_topic(context.config.namespace, context.name, run.run)
    admin = context.log.admin
    anew = _anew(context)
    topics = admin.topics([live, snapshot])
    found = {name: topics[name].partitions if name in topics else 0 for name in (live, snapshot)}
    problems = [
        f"topic {name} has {count(held, 'partition')}, not {run.partitions}; {anew}"
        for name, held in found.items()
        if held != run.partitions
    ]
    if problems:
        return problems
    held = admin.offsets(snapshot, run.partitions)
    cut = [p for p in range(run.partitions) if held.begin[p] > 0 or held.end[p] == 0]
    if cut:
        problems.append(f"topic {snapshot} no longer holds all of its records in {partitions(cut)}; {anew}")
    group = read_group(context.control, context.name, store_name)
    if group is None:
        begins = admin.offsets(live, run.partitions).begin
        passed = late_partitions(begins, run.fences)
        if passed:
            problems.append(
                f"retention of topic {live} has passed the fences of run {run.run} in {partitions(passed)}: "
                f"writes in between are gone; {anew}"
            )
    elif late := late_partitions(group.live_start, run.fences):
        problems.append(
            f"the group of store {store_name} began behind the fences of run {run.run} in {partitions(late)}; "
            f"replay into a store under another name, or {anew}"
        )
    return problems


def _anew(context: Context) -> str:
    return f"make another run with `vecferry start {context.name} --new-run`, and replay that"
