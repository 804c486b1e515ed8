"""Opening a run: take up the one that is open, else plan a new one and journal it."""

from __future__ import annotations

from .. import failpoints
from ..errors import Refused
from ..executor import result_of
from ..journal.run import PlanPage, RunRecord, plan_key, run_key, to_pages
from ..journal.runs import read_runs
from ..log.topics import SNAPSHOT_TOPIC
from ..schemas.topics import control_topic, snapshot_topic
from ..wording import count, partitions
from .context import Context, Mover
from .fencing import note_fences
from .groups import check_may_read
from .plan import next_run_id


def open_run(mover: Mover, targets: tuple[str, ...], *, skips: bool = False) -> RunRecord:
    """The run to copy: the collection's open one taken up under a new generation, or a new one, journaled. Blocks.

    ``skips``: it leaves behind what the log cannot carry; an open run that does so already goes on like that.

    Raises Refused, with the remedy, when the source is not complete, when a target may not read the run, and when the
    open run belongs to another source, other targets, another epoch or another number of partitions; Unavailable.
    """
    control = control_topic(mover.context.config.namespace)
    beside = mover.context.threads("backfill-connect")
    try:
        connected = beside.submit(lambda: mover.sender.learn(control))
        run = _opened(mover, targets, skips)
        result_of(beside, connected)
        return run
    finally:
        beside.shutdown()


def _opened(mover: Mover, targets: tuple[str, ...], skips: bool) -> RunRecord:
    context = mover.context
    # The writer of the context has fenced every older one, so what is in the topic now is all there will be of theirs.
    context.control.sync()
    runs = read_runs(context.control, context.name)
    for run in runs.values():
        if run.state == "copying":
            return _take_up(mover, run, targets, skips)
    return _plan(mover, targets, runs, skips)


def _take_up(mover: Mover, run: RunRecord, targets: tuple[str, ...], skips: bool) -> RunRecord:
    context, collection = mover.context, mover.context.collection
    wanted = (context.source, frozenset(targets), collection.epoch, collection.partitions)
    if (run.source, frozenset(run.targets), run.epoch, run.partitions) != wanted:
        raise Refused(
            f"run {run.run} of {context.name} is open, from {run.source} to {', '.join(run.targets)} "
            f"(epoch {run.epoch}, {count(run.partitions, 'partition')}), and does not fit what is asked for now; "
            f"finish it with its own configuration, or give it up with `vecferry cancel {context.name}`"
        )
    taken = run.model_copy(update={"generation": run.generation + 1, "skips": run.skips or skips})
    mover.writer.write({run_key(context.name, run.run): taken})
    return taken


def _plan(mover: Mover, targets: tuple[str, ...], runs: dict[str, RunRecord], skips: bool) -> RunRecord:
    context, collection = mover.context, mover.context.collection
    if context.source in targets:
        raise Refused(f"store {context.source} cannot be the source and a target of one run")
    incomplete = set(range(collection.partitions)) - mover.source.applied().complete
    if incomplete:
        raise Refused(
            f"store {context.source} is not complete in {partitions(incomplete)}: a copy of it would lack "
            "rows; if its table was lost, restore it with vecferry's tables beside it, or finish the run that fills it"
        )
    fences = note_fences(mover)
    check_may_read(context.control, context.name, targets, fences)
    chunk_rows = context.config.backfill.chunk_rows
    beside = context.threads("backfill-plan")  # Kafka takes as long as the source
    try:
        planned = beside.submit(lambda: (to_pages(mover.source.plan_chunks(chunk_rows)), mover.source.count()))
        name = _make_topic(context, set(runs))
        pages, estimated_rows = result_of(beside, planned)
    finally:
        beside.shutdown()
    run = RunRecord(
        run=name,
        source=context.source,
        targets=targets,
        state="copying",
        epoch=collection.epoch,
        partitions=collection.partitions,
        chunks=sum(len(page.chunks) for page in pages),
        chunk_rows=chunk_rows,
        estimated_rows=estimated_rows,
        generation=1,
        created_unix_s=context.clock.unix_s(),
        fences=fences,
        skips=skips,
    )
    records: dict[str, PlanPage | RunRecord] = {
        plan_key(context.name, name, number): page for number, page in enumerate(pages)
    }
    mover.writer.write({**records, run_key(context.name, name): run})
    failpoints.hit("backfill.planned")
    return run


def _make_topic(context: Context, taken: set[str]) -> str:
    """A snapshot topic for the first name without a record; returns the name. One that holds nothing is taken over.

    A mover may have died after it made the topic, or a log was left behind: what holds records is left alone.
    """
    width = context.collection.partitions
    while True:
        name = next_run_id(taken)
        topic = snapshot_topic(context.config.namespace, context.name, name)
        if context.log.admin.create_topic(topic, width, SNAPSHOT_TOPIC):
            return name
        found = context.log.admin.topics([topic]).get(topic)
        fits = found is not None and found.partitions == width
        if fits and not any(context.log.admin.end_offsets(topic, width)):
            return name
        taken.add(name)
