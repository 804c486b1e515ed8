"""Collecting the facts of one moment from Kafka and both stores."""

from __future__ import annotations

from dataclasses import dataclass

from ..backfill.context import Context, opened
from ..errors import VecferryError
from ..journal.controller import ControllerRecord, controller_key
from ..journal.migration import MigrationRecord, VerifyRecord, migration_key, verify_key
from ..journal.progress import (
    LiveProgress,
    SnapshotProgress,
    WorkerProgress,
    live_progress_key,
    snapshot_progress_key,
    worker_progress_key,
)
from ..journal.reading import all_known, known, require
from ..journal.route import Route, route_key
from ..journal.run import ChunkDone, RunRecord, chunk_key, run_key
from ..schemas.batch import Applied
from ..schemas.topics import group_id
from ..stores.base import Size
from .facts import Facts


def gather(context: Context, *, towards: int | None = None) -> Facts:
    """The facts now; blocks for a few requests. Raises Unavailable when Kafka does not answer.

    A store that does not answer is a fact, not an error. The target is left alone when reads are to be moved away from
    it, to ``towards`` per cent: that must not depend on it. Reports are read before the marks of the stores, so marks
    below them are lost writes; ends are read last, so a lag may come out too high, never too low.
    """
    context.sync()
    name, partitions = context.name, context.collection.partitions
    stores = (context.source, context.target)
    run = _current_run(context)
    chunks = {} if run is None else all_known(context.control, chunk_key(name, run.run), ChunkDone)
    route = require(context.control, route_key(name), Route)
    away = towards is not None and route is not None and towards <= route.moved(context.source)
    live = {store: _live(context, store) for store in stores}
    asked = _Asked(problem="not asked") if away else _ask_target(context)
    source_held, source_problem = _ask_source(context)
    offsets = context.log.admin.offsets(context.events, partitions)
    groups = {store: group_id(context.config.namespace, name, store) for store in stores}
    return Facts(
        collection=name,
        source=context.config.replica(name, context.source),
        target=context.config.replica(name, context.target),
        partitions=partitions,
        now_unix_s=context.clock.unix_s(),
        migration=require(context.control, migration_key(name), MigrationRecord),
        route=route,
        run=run,
        run_chunks_done=len(chunks),
        run_rows_done=sum(chunk.rows for chunk in chunks.values()),
        run_applied=0 if run is None else sum(report.closed for report in _reports(context, run).values()),
        run_problems=() if run is None else run_problems(context, run),
        verify=known(context.control, verify_key(name), VerifyRecord),
        controller=known(context.control, controller_key(name), ControllerRecord),
        begin=offsets.begin,
        end=offsets.end,
        stable=offsets.stable,
        events=context.events,
        live=live,
        committed={store: context.log.admin.committed(groups[store], context.events, partitions) for store in stores},
        workers={
            store: all_known(context.progress, worker_progress_key(name, store), WorkerProgress) for store in stores
        },
        dead_letters=tuple(sorted(context.letters.items(""))),
        held=asked.held,
        index_ready=asked.index_ready,
        index_problem=asked.problem,
        no_index=asked.no_index,
        source_held=source_held,
        source_problem=source_problem,
        size=asked.size,
    )


def _current_run(context: Context) -> RunRecord | None:
    """The run that the migration's record names, if its record is known: moving reads back does not depend on it."""
    migration = require(context.control, migration_key(context.name), MigrationRecord)
    if migration is None or migration.run is None:
        return None
    return known(context.control, run_key(context.name, migration.run), RunRecord)


def _live(context: Context, store: str) -> dict[int, LiveProgress]:
    records = all_known(context.progress, live_progress_key(context.name, store), LiveProgress)
    return {
        int(partition): record
        for partition, record in records.items()
        if int(partition) < context.collection.partitions
    }


def run_problems(context: Context, run: RunRecord) -> tuple[str, ...]:
    """Why the target can never close ``run``, one line per partition; () when nothing is known to be wrong."""
    records = _reports(context, run)
    return tuple(f"partition {partition}: {record.problem}" for partition, record in records.items() if record.problem)


def _reports(context: Context, run: RunRecord) -> dict[str, SnapshotProgress]:
    prefix = snapshot_progress_key(context.name, context.target, run.run)
    return all_known(context.progress, prefix, SnapshotProgress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the target says of itself, or why it does not."""

    held: Applied | None = None
    index_ready: bool | None = None
    no_index: str = ""
    size: Size | None = None
    problem: str = ""


def _ask_target(context: Context) -> _Asked:
    dimension = context.collection.space.dimension
    try:
        with opened(context.open_store, context.target) as store:
            no_index = store.capabilities.no_index(dimension)
            return _Asked(held=store.applied(), index_ready=store.index_ready(), no_index=no_index, size=store.size())
    except VecferryError as error:
        return _Asked(problem=str(error))


def _ask_source(context: Context) -> tuple[Applied | None, str]:
    try:
        with opened(context.open_store, context.source) as store:
            return store.applied(), ""
    except VecferryError as error:
        return None, str(error)
