"""What must hold after every step of a simulation, judged by what was published and shares no code with the worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from log_world import DIMENSION, NAME, PARTITIONS
from memory_store import MemoryStore
from memory_world import MemoryWorld, partition_of
from vecferry.journal.runs import read_done, read_plan, read_runs
from vecferry.schemas.batch import Rows
from vecferry.schemas.snapshot import SnapshotBlock, SnapshotDecoder
from vecferry.schemas.topics import control_topic, dlq_topic, snapshot_topic
from vecferry.stores.key_ranges import KeyRange

EPOCH = 1
POSITIONS = 2**41  # of an epoch
BASE = EPOCH * POSITIONS - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an id; ``value`` is None for a delete."""

    offset: int
    value: float | None


class Truth:
    """What was published, and what the rows were before the first event."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world
        self.events: dict[str, list[Event]] = {}
        self.junk: set[tuple[int, int]] = set()  # partition, offset
        self.rejected: dict[tuple[int, int], str] = {}  # partition, offset -> id
        self.base: dict[str, float] = {f"id-{number}": float(number) for number in range(0, 12, 2)}

    def upserted(self, id_: str, offset: int, value: float) -> None:
        self.events.setdefault(id_, []).append(Event(offset, value))

    def deleted(self, id_: str, offset: int) -> None:
        self.events.setdefault(id_, []).append(Event(offset, None))

    def undecodable(self, id_: str, offset: int) -> None:
        self.junk.add((partition_of(id_), offset))

    def refused(self, id_: str, offset: int) -> None:
        self.rejected[partition_of(id_), offset] = id_

    def is_superseded(self, place: tuple[int, int], mark: int) -> bool:
        """Whether a newer event of the same id lies below ``mark``: then the store may never have been asked."""
        event = self.newest_below(self.rejected[place], mark)
        return event is not None and event.offset > place[1]

    def base_rows(self, chunk: int, chunks: int) -> Rows:
        """The rows of one chunk, as they were before the first event."""
        ids = sorted(self.base)[chunk::chunks]
        return Rows(
            ids=ids,
            positions=np.full(len(ids), BASE, np.int64),
            deleted=np.zeros(len(ids), np.bool_),
            vectors=np.array([[self.base[id_]] * DIMENSION for id_ in ids], np.float32).reshape(len(ids), DIMENSION),
            metadata=[b"{}"] * len(ids),
        )

    def newest_below(self, id_: str, next_offset: int) -> Event | None:
        """The newest event of ``id_`` below ``next_offset``."""
        below = [event for event in self.events.get(id_, []) if event.offset < next_offset]
        return below[-1] if below else None

    def at(self, id_: str, position: int) -> float | None:
        """What ``id_`` is at ``position``; raises KeyError when nothing was published there."""
        if position == BASE:
            return self.base[id_]
        for event in self.events.get(id_, []):
            if EPOCH * POSITIONS + event.offset == position:
                return event.value
        raise KeyError(f"{id_} at {position}")

    def states(self, id_: str) -> list[tuple[int | None, float | None]]:
        """All states of ``id_`` so far, oldest first: position and value, or None and None while it was not there."""
        first = (BASE, self.base[id_]) if id_ in self.base else (None, None)
        return [first, *((EPOCH * POSITIONS + event.offset, event.value) for event in self.events.get(id_, []))]

    def is_settled(self, store: MemoryStore) -> bool:
        """Whether the store has applied the whole log and the whole run."""
        ends = self.world.log.admin.end_offsets(self.world.topic, PARTITIONS)
        return len(store.complete) == PARTITIONS and all(store.live[p] >= end for p, end in enumerate(ends))

    def has_committed(self, name: str) -> bool:
        """Whether the group of the store called ``name`` has committed the whole log."""
        return self.world.committed(name) == dict(
            enumerate(self.world.log.admin.end_offsets(self.world.topic, PARTITIONS))
        )


@dataclass(frozen=True, slots=True)
class Watched:
    """A store, what its workers call it, and id -> the newest position that it has shown."""

    store: MemoryStore
    name: str
    seen: dict[str, int] = field(default_factory=dict)


def check_step(truth: Truth, watched: Watched) -> None:
    """No regress, no resurrection, nothing made up, no loss below the mark, no commit ahead of the store."""
    store, seen = watched.store, watched.seen
    for id_, entry in store.rows.items():
        assert entry.position >= seen.get(id_, 0), f"{id_} went back to {entry.position}"
        seen[id_] = entry.position
        value = truth.at(id_, entry.position)
        held = None if entry.deleted else float(entry.vector[0])
        assert held == value, f"{id_} holds {held} at {entry.position}, which was {value}"
    for id_, position in seen.items():
        assert id_ in store.rows, f"{id_} was forgotten; it was at {position}"
    for id_ in truth.base:
        whole = partition_of(id_) in store.complete
        assert not whole or id_ in store.rows, f"{id_} is missing in a partition that is called complete"
    for id_ in truth.events:
        event = truth.newest_below(id_, store.live.get(partition_of(id_), 0))
        if event is not None:
            position = EPOCH * POSITIONS + event.offset
            entry = store.rows.get(id_)
            assert entry is not None, f"{id_} lacks the event at {event.offset}, which the mark has passed"
            assert entry.position >= position, f"{id_} is at {entry.position}, the mark has passed {position}"
    letters = letters_of(truth.world, watched.name)
    passed = {place for place in (*truth.junk, *truth.rejected) if place[1] < store.live.get(place[0], 0)}
    for place in passed - letters:
        superseded = place in truth.rejected and truth.is_superseded(place, store.live[place[0]])
        assert superseded, f"the event at {place[1]} of partition {place[0]} left no letter"


def check_whole(truth: Truth, watched: Watched) -> None:
    """The store holds the fold of the log over what was there before, and the group has committed all of it."""
    store = watched.store
    ends = dict(enumerate(truth.world.log.admin.end_offsets(truth.world.topic, PARTITIONS)))
    assert store.live == ends
    assert store.complete == set(range(PARTITIONS))
    assert truth.world.committed(watched.name) == ends
    expected = dict(truth.base)
    for id_, events in truth.events.items():
        if events[-1].value is None:
            expected.pop(id_, None)
        else:
            expected[id_] = events[-1].value
    held = {id_: float(entry.vector[0]) for id_, entry in store.rows.items() if not entry.deleted}
    assert held == expected


def check_runs(truth: Truth) -> None:
    """What the runs say of themselves: every event below a chunk's fence is in the rows that were sent of the chunk.

    And no row that was ever sent of a closed run is older than a delete below the run's fence: a further store that
    begins at the fence would not be told of the delete.
    """
    control = truth.world.log.table(control_topic(truth.world.namespace))
    control.sync()
    for run in read_runs(control, NAME).values():
        sent = _sent(truth.world, run.run)
        chunks = [KeyRange.of(chunk) for chunk in read_plan(control, NAME, run)]
        for number, done in read_done(control, NAME, run.run).items():
            rows = {id_: at for (id_, chunk, made), at in sent.items() if (chunk, made) == (number, done.generation)}
            for id_ in {*truth.base, *truth.events}:
                if _covers(chunks[number], id_):
                    _check_row(truth, id_, rows.get(id_), done.fences[partition_of(id_)], f"{run.run}, chunk {number}")
        for (id_, _, _), position in sent.items() if run.state == "closed" else ():
            event = truth.newest_below(id_, run.fences[partition_of(id_)])
            gone = event is not None and event.value is None
            assert not gone or position > EPOCH * POSITIONS + event.offset, f"{run.run}: {id_} was deleted before"


def _check_row(truth: Truth, id_: str, position: int | None, fence: int, where: str) -> None:
    event = truth.newest_below(id_, fence)
    least = None if event is None else EPOCH * POSITIONS + event.offset
    if least is None and id_ in truth.base:
        least = BASE
    if least is None:
        return
    if position is not None:
        assert position >= least, f"{where}: {id_} was sent at {position}, the fence says {least}"
        return
    later = [value for at, value in truth.states(id_) if at is not None and at >= least]
    assert None in later, f"{where}: {id_} was not sent, the fence says {least}"


def _covers(keys: KeyRange, id_: str) -> bool:
    return (keys.lower is None or id_ > keys.lower) and (keys.upper is None or id_ <= keys.upper)


def _sent(world: MemoryWorld, run: str) -> dict[tuple[str, int, int], int]:
    """Id, chunk and generation -> position, of every row in a snapshot topic."""
    decoder = SnapshotDecoder(world.collection)
    found = {}
    for partition in range(PARTITIONS):
        for record in world.broker.partition((snapshot_topic(world.namespace, NAME, run), partition)).records:
            block = decoder.decode(record.value(), partition)
            if isinstance(block, SnapshotBlock):
                for id_, position in zip(block.events.ids, block.events.positions, strict=True):
                    found[id_, block.chunk, block.generation] = int(position)
    return found


def letters_of(world: MemoryWorld, store: str) -> set[tuple[int, int]]:
    """Partition and offset of every event of the live topic that became a dead letter of ``store``."""
    place = (dlq_topic(world.namespace, NAME), 0)
    found = set()
    for record in world.broker.partition(place).records:
        headers = dict(record.headers())
        ours = (record.key() or b"").startswith(f"{store}/".encode())
        if ours and headers["vecferry.topic"] == world.topic.encode():
            found.add((int(headers["vecferry.partition"] or b""), int(headers["vecferry.offset"] or b"")))
    return found
