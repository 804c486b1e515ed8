"""One turn of the loop as a value: its events, and the marks and offsets to record once each has an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import DecodeError
from ..log.port import Message, Place
from ..schemas.batch import EventBatch, LiveMark, Mark, SnapshotMark
from ..schemas.collection import Collection
from ..schemas.dead_letters import Origin
from ..schemas.decode import EventDecoder, drop_misplaced
from ..schemas.position import encode_position, next_offset
from ..schemas.snapshot import SnapshotBlock, SnapshotDecoder, encode_row
from .continuity import sort_out
from .letters import Letter
from .partition import Content, Owned, Partition
from .tally import close_chunk, count_block


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Where ``rows`` rows of a batch come from. It holds no message, so the message's memory can be reused."""

    origin: Origin
    headers: tuple[tuple[str, bytes | None], ...]
    run: str
    chunk: int
    generation: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """``batch`` holds the live events first (``live_rows`` of them), then the rows of snapshot blocks.

    marks      what the store records together with the batch
    reached    partition of a topic → the offset that the group may commit once every event of the turn has its outcome
    letters    records that could not be decoded; ``live_letters`` of them are from the live topic
    live_events, snapshot_events   how many were consumed; each must get an outcome
    partitions    the partitions that the turn advances, as owned when it was made; one revoked since is owned no more
    handled_below   partition of a topic → below this offset every event had its outcome before, see ``Partition``
    passed_over   partition of a topic → the offset to read again from, see ``sort_out``
    """

    batch: EventBatch
    live_rows: int
    marks: tuple[Mark, ...]
    reached: dict[Place, int]
    letters: tuple[Letter, ...]
    live_letters: int
    live_events: int
    snapshot_events: int
    redelivered: int
    problems: dict[Place, str]
    partitions: Owned
    handled_below: dict[Place, int]
    passed_over: dict[Place, int]
    live: tuple[Message, ...]  # one per live row
    blocks: tuple[_Block, ...]

    @property
    def empty(self) -> bool:
        """Nothing to apply, to record or to dead-letter."""
        return not (len(self.batch) or self.marks or self.reached or self.letters or self.problems)

    def unposted(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those of ``letters`` that were not posted before.

        A worker posts letters before it advances the mark past them, so letters below the mark have been posted. One
        may be resolved by now, and posting it again would reopen it.
        """
        origins = [letter.origin for letter in letters]
        due = [origin.offset >= self.handled_below[origin.topic, origin.partition] for origin in origins]
        return [letter for letter, is_due in zip(letters, due, strict=True) if is_due]


class TurnMaker:
    """Decodes messages into turns, and advances the partitions that they came from."""

    def __init__(self, collection: Collection, live_topic: str, store_name: str) -> None:
        self._collection = collection
        self._live_topic = live_topic
        self._store_name = store_name
        self._events = EventDecoder(collection)
        self._snapshots = SnapshotDecoder(collection)

    def read_ahead(self, message: Message, partition: Partition) -> None:
        """Decode ``message`` of a snapshot topic early, while the store is busy; ``make`` then uses the result."""
        if message.offset() not in partition.decoded:
            partition.decoded[message.offset()] = self._read(message)

    def _read(self, message: Message) -> Content:
        try:
            return self._snapshots.decode(message.value(), message.partition())
        except DecodeError as error:
            return error

    def make(self, messages: Sequence[Message], owned: Owned) -> Turn:
        """The turn of ``messages``. Messages of one partition are in order."""
        found = sort_out(messages, owned, self._live_topic)
        live, partitions, offsets = found.live, found.partitions, found.offsets
        letters: list[Letter] = []
        batch, rows = self._decode_live(live, partitions, offsets, letters)
        sources: list[_Block] = []
        live_rows, live_letters = len(batch), len(letters)
        last = dict(zip(partitions, offsets, strict=True))  # a partition's offsets ascend
        reached: dict[Place, int] = {
            (self._live_topic, partition): next_offset(offset) for partition, offset in last.items()
        }
        for place, end in found.ends.items():  # control records lie between the last event and the end of the partition
            if end > max(reached.get(place, 0), owned[place].next_offset):
                reached[place] = end
        marks: list[Mark] = [
            LiveMark(partition=place[1], next_offset=offset, known=owned[place].next_offset)
            for place, offset in reached.items()
        ]
        for place, offset in reached.items():
            owned[place].next_offset = offset
        blocks: list[EventBatch] = []
        problems: dict[Place, str] = {}
        for message in found.snapshot:
            partition = owned[message.topic(), message.partition()]
            self._take_snapshot(message, partition, blocks, sources, letters, marks, reached)
            if partition.tally.problem:
                problems[partition.place] = partition.tally.problem
        for partition in owned.values():
            partition.decoded.clear()  # anything left belongs to messages that were left out
        return Turn(
            batch=EventBatch.joined([part for part in (batch, *blocks) if len(part)] or [batch]),
            live_rows=live_rows,
            marks=_newest(marks),
            reached=reached,
            letters=tuple(letters),
            live_letters=live_letters,
            live_events=len(live),
            snapshot_events=sum(map(len, blocks)) + len(letters) - live_letters,
            redelivered=_redelivered(partitions, offsets, owned),
            problems=problems,
            partitions={place: owned[place] for place in {*reached, *problems}},
            handled_below={place: partition.handled_below for place, partition in owned.items()},
            live=tuple(rows),
            blocks=tuple(sources),
            passed_over=found.passed_over,
        )

    def letter(self, turn: Turn, row: int, reason: str) -> Letter:
        """The dead letter of ``row`` of ``turn.batch``, which the store rejected for ``reason``."""
        if row < turn.live_rows:
            return self._letter(turn.live[row], reason)
        inner = row - turn.live_rows
        for block in turn.blocks:
            if inner < block.rows:
                return Letter(
                    origin=replace(block.origin, row=inner),
                    reason=reason,
                    key=turn.batch.ids[row].encode(),
                    value=encode_row(
                        self._collection,
                        turn.batch,
                        row,
                        run=block.run,
                        chunk=block.chunk,
                        generation=block.generation,
                    ),
                    headers=block.headers,
                    position=int(turn.batch.positions[row]),
                )
            inner -= block.rows
        raise IndexError(row)

    def _decode_live(
        self, live: list[Message], partitions: list[int], offsets: list[int], letters: list[Letter]
    ) -> tuple[EventBatch, list[Message]]:
        decoded = self._events.decode(
            [message.value() for message in live], [message.key() for message in live], partitions, offsets
        )
        decoded = drop_misplaced(decoded, self._collection.partitions)
        for index, error in decoded.errors.items():
            letters.append(self._letter(live[index], str(error)))
        return decoded.batch, live if len(decoded.rows) == len(live) else [live[index] for index in decoded.rows]

    def _take_snapshot(
        self,
        message: Message,
        partition: Partition,
        blocks: list[EventBatch],
        sources: list[_Block],
        letters: list[Letter],
        marks: list[Mark],
        reached: dict[Place, int],
    ) -> None:
        """Count a block, or close a chunk at a marker."""
        after = next_offset(message.offset())
        partition.next_offset = after
        self.read_ahead(message, partition)
        content = partition.decoded.pop(message.offset())
        if not isinstance(content, DecodeError) and content.run != partition.run:
            content = DecodeError(f"run {content.run!r} in the topic of run {partition.run!r}")
        if isinstance(content, DecodeError):
            letters.append(self._letter(message, str(content)))
            return
        if isinstance(content, SnapshotBlock):
            partition.tally = count_block(partition.tally, content)
            sources.append(
                _Block(
                    origin=self._origin(message),
                    headers=tuple(message.headers() or ()),
                    run=content.run,
                    chunk=content.chunk,
                    generation=content.generation,
                    rows=len(content.events),
                )
            )
            blocks.append(content.events)
            return
        partition.tally, whole = close_chunk(partition.tally, content)
        if whole:
            reached[message.topic(), message.partition()] = after
            marks.append(
                SnapshotMark(
                    run=content.run,
                    partition=message.partition(),
                    next_offset=after,
                    next_chunk=partition.tally.next_chunk,
                    closed=partition.tally.closed,
                    known=partition.marked,
                )
            )
            partition.marked = max(partition.marked, after)

    def _letter(self, message: Message, reason: str) -> Letter:
        return Letter(
            origin=self._origin(message),
            reason=reason,
            key=message.key(),
            value=message.value(),
            headers=tuple(message.headers() or ()),
            position=encode_position(self._collection.epoch, message.offset()),
        )

    def _origin(self, message: Message) -> Origin:
        return Origin(
            store=self._store_name,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            row=0,
        )


def _redelivered(partitions: list[int], offsets: list[int], owned: Owned) -> int:
    """How many of the live events had their outcome before."""
    handled_below = {place[1]: partition.handled_below for place, partition in owned.items() if partition.run is None}
    return sum([offset < handled_below[partition] for partition, offset in zip(partitions, offsets, strict=True)])


def _newest(marks: list[Mark]) -> tuple[Mark, ...]:
    """The last mark of each partition, with the ``known`` of its first, so that it covers all of them."""
    newest: dict[tuple[str, int], Mark] = {}
    for mark in marks:
        key = mark.run if isinstance(mark, SnapshotMark) else "", mark.partition
        newest[key] = replace(mark, known=newest[key].known) if key in newest else mark
    return tuple(newest.values())
