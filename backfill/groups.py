"""Where consumer groups begin, and which runs their stores may therefore read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import Refused
from ..journal.run import GroupRecord, group_key
from ..journal.runs import read_group
from ..log.port import Table, Writer
from ..schemas.batch import EventBatch, LiveMark
from ..schemas.collection import Collection
from ..schemas.position import base_position, epoch_of
from ..schemas.topics import group_id
from ..stores.base import Store
from ..wording import count, partitions
from .context import Context
from .fence import may_read_run


def begin_group(context: Context, writer: Writer, store_name: str, store: Store, offsets: Sequence[int]) -> GroupRecord:
    """Let the group of ``store_name`` read the live topic from ``offsets`` (one per partition) on.

    Idempotent, killable at any point.

    A store that is new here must have passed ``foreign_traces`` before it was created.

    The start is journaled, then noted in the store (which must have been created), then committed for the group: a
    worker goes by the lower of the last two, and refuses to run with either missing. A group that has begun already
    keeps its start. Blocks. Raises Refused when the group has commits that nobody journaled, Unavailable.
    """
    group = group_id(context.config.namespace, context.name, store_name)
    collection, admin = context.collection, context.log.admin
    context.control.sync()
    record = read_group(context.control, context.name, store_name)
    committed = admin.committed(group, context.events, collection.partitions)
    if record is not None and record.epoch != collection.epoch:
        raise Refused(
            f"group {group} began in epoch {record.epoch} and the collection is in epoch {collection.epoch}; "
            f"set collections.{context.name}.epoch back, or enrol in another namespace"
        )
    if record is None:
        if committed:
            raise Refused(
                f"group {group} has committed offsets but vecferry did not begin it; "
                "delete the group, or give the store another name"
            )
        record = GroupRecord(epoch=collection.epoch, live_start=tuple(offsets))
        writer.write({group_key(context.name, store_name): record})
    applied = _begun(store, collection.space.dimension, record.live_start)
    # What the store has applied is at or behind the start: commits that Kafka let expire come back where they were.
    missing = {
        partition: applied[partition] for partition in range(len(record.live_start)) if partition not in committed
    }
    if missing:
        admin.commit(group, context.events, missing)
    return record


def _begun(store: Store, dimension: int, live_start: Sequence[int]) -> dict[int, int]:
    """Partition -> next offset applied, at or behind ``live_start`` from now on."""
    applied = store.applied().live
    marks = [
        LiveMark(partition=partition, next_offset=start)
        for partition, start in enumerate(live_start)
        if applied.get(partition, -1) < start
    ]
    if not marks:  # nothing is written that is there: a worker may be writing to the same rows without pause
        return applied
    store.apply(_nothing(dimension), marks)  # marks never move back
    return store.applied().live


def refuse_traces(control: Table, collection: Collection, store_name: str, store: Store) -> None:
    """Raise Refused when a further store carries what it must not, and its group has never begun; before ``create``."""
    if read_group(control, collection.name, store_name) is None:
        traces = foreign_traces(store_name, store, collection, source=False)
        if traces:
            raise Refused(traces)


def foreign_traces(store_name: str, store: Store, collection: Collection, *, source: bool) -> str:
    """What a store whose group has never begun carries that it must not, remedy included; "" when it carries nothing.

    To be asked before ``create``. Marks would let the group skip events, and positions of this epoch would make every
    new write look older than what is there: neither is lost with an error. Only a ``source`` may be complete: by an
    enrolment that was broken off. Only a source may hold rows without a position: elsewhere they count as no older than
    those of a copy, and would stay in their place. Blocks while the store reads its positions.
    """
    applied, highest = store.applied(), store.highest_position()
    marked = any(applied.live.values()) or applied.snapshots or (applied.complete and not source)
    written = highest is not None and highest >= base_position(collection.epoch)
    if not marked and not written:
        return "" if source else _rows_in_the_way(store_name, store, collection)
    # A row that was copied at BASE is of the epoch above its number.
    last = max(collection.epoch, 0 if highest is None else epoch_of(highest + 1))
    return (
        f"store {store_name} carries {'rows' if written else 'marks'} of another migration, or of a topic that is "
        f"gone, in epoch {last}: new writes would be taken for older ones and never be applied; go on with the "
        f"namespace and topic that wrote them, or take a new namespace, set collections.{collection.name}.epoch = "
        f"{last + 1}, and enrol there"
    )


def _rows_in_the_way(store_name: str, store: Store, collection: Collection) -> str:
    rows = store.count_unstamped()
    if not rows:
        return ""
    return (
        f"store {store_name} holds {count(rows, 'row')} that vecferry did not write, and a copy would not replace "
        f"them; name another table in collections.{collection.name}.in.{store_name}.table"
    )


def late_partitions(live_start: Sequence[int], fences: Sequence[int]) -> list[int]:
    """The partitions in which a group that began at ``live_start`` may not read a run with these ``fences``."""
    pairs = enumerate(zip(live_start, fences, strict=True))
    return [partition for partition, (start, fence) in pairs if not may_read_run(start, fence)]


def check_may_read(control: Table, collection: str, stores: Sequence[str], fences: Sequence[int]) -> None:
    """Raise Refused, one line per store, unless every one of ``stores`` may read a run with these ``fences``."""
    problems = []
    for store in stores:
        record = read_group(control, collection, store)
        if record is None:
            problems.append(f"the group of store {store} has not begun; run `vecferry enrol {collection}`")
        elif late := late_partitions(record.live_start, fences):
            problems.append(
                f"the group of store {store} began behind the run's fence in {partitions(late)}: writes in between "
                f"would be missing; resolve the dead letters of the source (`vecferry dlq list {collection}`), let its "
                "worker catch up, and try again"
            )
    if problems:
        raise Refused(problems)


def _nothing(dimension: int) -> EventBatch:
    return EventBatch(
        ids=[],
        ops=np.empty(0, np.int8),
        partitions=np.empty(0, np.int32),
        positions=np.empty(0, np.int64),
        vectors=np.empty((0, dimension), np.float32),
        metadata=[],
    )
