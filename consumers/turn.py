"""One turn of the loop as a value: the events taken in together, and what may be recorded once they have outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DecodeError
from ..schemas.batch import EventBatch, LiveMark, Mark, SnapshotMark
from ..schemas.collection import Collection
from ..schemas.dead_letters import Origin
from ..schemas.decode import EventDecoder, drop_misplaced
from ..schemas.position import encode_position, next_offset
from ..schemas.snapshot import SnapshotBlock, SnapshotDecoder, SnapshotMarker, encode_row
from .assignment import Place, Stream
from .continuity import sort_out
from .letters import Letter
from .tally import close_chunk, count_block

_Content = SnapshotBlock | SnapshotMarker | DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Where ``rows`` rows of a batch are from. Not the message: with it went memory that the next one can have."""

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
    reached    place → the offset that the group may commit once every event of the turn has its outcome
    letters    records that could not be decoded; ``live_letters`` of them are from the live topic
    live_events, snapshot_events   how many were consumed: each of them owes an outcome
    streams    place → the stream it belonged to: a place that was given up meanwhile is recognised by it
    known_below   place → below it everything was applied or buried before, see ``Stream``
    passed_over   place → the offset from which it has to be read again, see ``sort_out``
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
    streams: dict[Place, Stream]
    known_below: dict[Place, int]
    passed_over: dict[Place, int]
    sources: tuple[Any, ...]  # live_rows messages, then one _Block per snapshot block

    @property
    def empty(self) -> bool:
        """Nothing to apply, to record or to bury."""
        return not (len(self.batch) or self.marks or self.reached or self.letters or self.problems)

    def unposted(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those of ``letters`` that are due. A mark follows its letters, so below it each was posted before, and may be
        resolved by now: posted again it would read as unresolved.
        """
        origins = [letter.origin for letter in letters]
        due = [origin.offset >= self.known_below[origin.topic, origin.partition] for origin in origins]
        return [letter for letter, is_due in zip(letters, due, strict=True) if is_due]


class TurnMaker:
    """Decodes messages into turns and advances the streams they came from."""

    def __init__(self, collection: Collection, live_topic: str, store_name: str) -> None:
        self._collection = collection
        self._live_topic = live_topic
        self._store_name = store_name
        self._events = EventDecoder(collection)
        self._snapshots = SnapshotDecoder(collection)
        self._ahead: dict[int, tuple[Any, _Content]] = {}  # by the identity of a message, which is kept beside it

    def read_ahead(self, message: Any) -> None:
        """Decode ``message`` of a snapshot topic, which will be in the next turn: the store is at work meanwhile."""
        if id(message) not in self._ahead:
            self._ahead[id(message)] = message, self._read(message)

    def _read(self, message: Any) -> _Content:
        try:
            return self._snapshots.decode(message.value(), message.partition())
        except DecodeError as error:
            return error

    def make(self, messages: Sequence[Any], streams: dict[Place, Stream]) -> Turn:
        """The turn of ``messages`` (confluent_kafka messages without error, or ends of partition), in their order."""
        found = sort_out(messages, streams, self._live_topic)
        live, partitions, offsets = found.live, found.partitions, found.offsets
        letters: list[Letter] = []
        batch, sources = self._decode_live(live, partitions, offsets, letters)
        live_rows, live_letters = len(batch), len(letters)
        last = dict(zip(partitions, offsets, strict=True))  # a partition's offsets ascend
        reached: dict[Place, int] = {
            (self._live_topic, partition): next_offset(offset) for partition, offset in last.items()
        }
        for place, end in found.ends.items():  # control records lie between the last event and the end of the partition
            if end > max(reached.get(place, 0), streams[place].next_offset):
                reached[place] = end
        marks: list[Mark] = [
            LiveMark(partition=place[1], next_offset=offset, known=streams[place].next_offset)
            for place, offset in reached.items()
        ]
        for place, offset in reached.items():
            streams[place].next_offset = offset
        blocks: list[EventBatch] = []
        problems: dict[Place, str] = {}
        for message in found.riding:
            place = (message.topic(), message.partition())
            self._take_snapshot(message, streams[place], blocks, sources, letters, marks, reached)
            if streams[place].tally.problem:
                problems[place] = streams[place].tally.problem
        self._ahead.clear()  # what is left was sorted out
        return Turn(
            batch=EventBatch.joined([part for part in (batch, *blocks) if len(part)] or [batch]),
            live_rows=live_rows,
            marks=_newest(marks),
            reached=reached,
            letters=tuple(letters),
            live_letters=live_letters,
            live_events=len(live),
            snapshot_events=sum(map(len, blocks)) + len(letters) - live_letters,
            redelivered=_redelivered(partitions, offsets, streams),
            problems=problems,
            streams={place: streams[place] for place in {*reached, *problems}},
            known_below={place: stream.known_below for place, stream in streams.items()},
            sources=tuple(sources),
            passed_over=found.passed_over,
        )

    def letter(self, turn: Turn, row: int, reason: str) -> Letter:
        """The dead letter of ``row`` of ``turn.batch``, which the store rejected for ``reason``."""
        if row < turn.live_rows:
            return self._letter(turn.sources[row], reason)
        inner = row - turn.live_rows
        for block in turn.sources[turn.live_rows :]:
            if inner < block.rows:
                named = {"run": block.run, "chunk": block.chunk, "generation": block.generation}
                return Letter(
                    origin=replace(block.origin, row=inner),
                    reason=reason,
                    key=turn.batch.ids[row].encode(),
                    value=encode_row(self._collection, turn.batch, row, **named),
                    headers=block.headers,
                    position=int(turn.batch.positions[row]),
                )
            inner -= block.rows
        raise IndexError(row)

    def _decode_live(
        self, live: list[Any], partitions: list[int], offsets: list[int], letters: list[Letter]
    ) -> tuple[EventBatch, list[Any]]:
        decoded = self._events.decode(
            [message.value() for message in live], [message.key() for message in live], partitions, offsets
        )
        decoded = drop_misplaced(decoded, self._collection.partitions)
        for index, error in decoded.errors.items():
            letters.append(self._letter(live[index], str(error)))
        sources = live if len(decoded.rows) == len(live) else [live[index] for index in decoded.rows]
        return decoded.batch, list(sources)

    def _take_snapshot(
        self,
        message: Any,
        stream: Stream,
        blocks: list[EventBatch],
        sources: list[Any],
        letters: list[Letter],
        marks: list[Mark],
        reached: dict[Place, int],
    ) -> None:
        """Count a block, or close a chunk at a marker."""
        after = next_offset(message.offset())
        stream.next_offset = after
        self.read_ahead(message)
        _, content = self._ahead.pop(id(message))
        if not isinstance(content, DecodeError) and content.run != stream.run:
            content = DecodeError(f"run {content.run!r} in the topic of run {stream.run!r}")
        if isinstance(content, DecodeError):
            letters.append(self._letter(message, str(content)))
            return
        if isinstance(content, SnapshotBlock):
            stream.tally = count_block(stream.tally, content)
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
        stream.tally, whole = close_chunk(stream.tally, content)
        if whole:
            reached[message.topic(), message.partition()] = after
            marks.append(
                SnapshotMark(
                    run=content.run,
                    partition=message.partition(),
                    next_offset=after,
                    next_chunk=stream.tally.next_chunk,
                    closed=stream.tally.closed,
                    known=stream.marked,
                )
            )
            stream.marked = max(stream.marked, after)

    def _letter(self, message: Any, reason: str) -> Letter:
        return Letter(
            origin=self._origin(message),
            reason=reason,
            key=message.key(),
            value=message.value(),
            headers=tuple(message.headers() or ()),
            position=encode_position(self._collection.epoch, message.offset()),
        )

    def _origin(self, message: Any) -> Origin:
        return Origin(
            store=self._store_name,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            row=0,
        )


def _redelivered(partitions: list[int], offsets: list[int], streams: dict[Place, Stream]) -> int:
    """How many of the live events were applied or buried before."""
    known_below = {place[1]: stream.known_below for place, stream in streams.items() if stream.run is None}
    return sum([offset < known_below[partition] for partition, offset in zip(partitions, offsets, strict=True)])


def _newest(marks: list[Mark]) -> tuple[Mark, ...]:
    """Of several marks of one partition in a turn, the last, with the ``known`` of the first: it stands for all."""
    newest: dict[tuple[str, int], Mark] = {}
    for mark in marks:
        key = mark.run if isinstance(mark, SnapshotMark) else "", mark.partition
        newest[key] = replace(mark, known=newest[key].known) if key in newest else mark
    return tuple(newest.values())
