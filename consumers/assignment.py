"""Which partitions a worker owns, where each resumes, and how snapshot partitions ride along with live ones.

The worker that owns live partition p also reads partition p of every open run into its store: added when p is
assigned or the run appears, taken away with p, committed under the same group. What is assigned is read as soon as the
store has said how far it is. All methods are called from the worker's polling thread, the callbacks of the consumer
included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ..clock import Clock
from ..errors import Refused
from ..log.kafka.clients import REQUEST_TIMEOUT_S, learn_leaders
from ..schemas.batch import Applied, SnapshotMark
from ..schemas.control import RunRecord
from ..schemas.topics import snapshot_topic
from ..wording import ranges
from .ordering import resume_offset
from .tally import Tally

_log = logging.getLogger("vecferry.worker")

_COORDINATOR_PATIENCE_S = 60.0
_COORDINATOR_PAUSE_S = 0.2
_LEADER_PATIENCE_S = 1.0
_ANSWER_PATIENCE_S = 0.05  # a store that is well answers sooner; another one shall not keep this member from polling

Place = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class Stream:
    """One owned partition. ``next_offset``: the first offset not yet taken in; ``run`` is None for a live one.

    ``known_below``: what the store had already applied when the partition was assigned; below it is redelivery.
    ``marked``: of a run, the newest mark that the store has or is being given.
    ``gap``: the newest gap between offsets: the first of it, and the one behind it; ``has_gaps``: one was there again
    when it was read again, so it is the log's own.
    """

    next_offset: int
    known_below: int
    run: str | None = None
    marked: int = 0
    gap: tuple[int, int] | None = None
    has_gaps: bool = False
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What ``Assignment.follow`` has changed.

    gone    the places that are no longer read
    live    live partition → what the store has applied of it, for those that are read from now on
    marks   what the store remembers of these partitions in any run: an earlier owner may have died after the store took
            it and before it could say so
    """

    gone: set[Place]
    live: dict[int, int] = field(default_factory=dict)
    marks: tuple[SnapshotMark, ...] = ()


def how_to_prepare(collection: str, store: str) -> str:
    """The way into a store that the workers cannot find: its role decides, and the migration's section tells that."""
    return (
        f"run `vecferry enrol {collection}` if migrations.{collection} names the store, and "
        f"`vecferry replay {collection} --run RUN --into {store}` if it does not; then start the worker"
    )


def by_topic(places: Iterable[Place]) -> str:
    """Places for people: each topic once, with its partitions drawn together."""
    numbers: dict[str, list[int]] = {}
    for topic, partition in places:
        numbers.setdefault(topic, []).append(partition)
    return ", ".join(f"{topic} [{ranges(found)}]" for topic, found in sorted(numbers.items())) or "nothing"


class Assignment:
    """The owned partitions of one collection's consumer."""

    def __init__(
        self,
        *,
        consumer: Consumer,
        namespace: str,
        collection: str,
        live_topic: str,
        store_name: str,
        store_applied: Callable[[], Future[Applied]],
        runs: Callable[[], Sequence[RunRecord]],
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._namespace = namespace
        self._collection = collection
        self._live_topic = live_topic
        self._store_name = store_name
        self._store_applied = store_applied
        self._runs = runs
        self._clock = clock
        self.streams: dict[Place, Stream] = {}
        self.complete: set[int] = set()
        self._seen_runs: frozenset[str] = frozenset()
        self._paused: set[Place] = set()
        self._expected: set[int] = set()  # live partitions that are owned, and not read yet
        self._asked: Future[Applied] | None = None

    def live(self) -> list[int]:
        """The owned live partitions that are read, ascending."""
        return sorted(partition for (topic, partition) in self.streams if topic == self._live_topic)

    def expect(self, partitions: list[TopicPartition]) -> None:
        """Note newly assigned live ``partitions``: they are read once the store has said from where, see ``follow``.

        A rebalance must not wait for the store: while that is down the member would be expelled for not polling.
        """
        self._expected |= {entry.partition for entry in partitions}
        self._asked = self._store_applied()  # not an earlier answer: they had another owner then

    def follow(self) -> Followed:
        """Read what was assigned and the runs that have appeared since; drop the runs that were cancelled.

        Asks the store and waits but a moment for its answer: while there is none, nothing new is read. Cheap when
        nothing has changed. Raises Refused, and what asking the store raised.
        """
        runs = self._runs()
        names = frozenset(run.run for run in runs)
        gone = {place for place, stream in self.streams.items() if stream.run is not None and stream.run not in names}
        self._leave(gone)
        if not self._expected and names == self._seen_runs:
            self._asked = None
            return Followed(gone=gone)
        if self._asked is None:
            self._asked = self._store_applied()
        if not wait([self._asked], _ANSWER_PATIENCE_S).done:
            return Followed(gone=gone)
        applied, self._asked = self._asked.result(), None
        expected, self._expected, self._seen_runs = sorted(self._expected), set(), names
        added = self._first_reads(expected, applied) if expected else {}
        added |= self._riders([*self.live(), *expected], runs, applied)
        self._begin(added)
        self.complete |= applied.complete
        return Followed(
            gone=gone,
            live={partition: applied.live[partition] for partition in expected},
            marks=tuple(mark for mark in applied.snapshots.values() if mark.partition in expected),
        )

    def _begin(self, added: dict[Place, Stream]) -> None:
        if not added:
            return
        starts = [TopicPartition(*place, stream.next_offset) for place, stream in added.items()]
        self._consumer.incremental_assign(starts)
        self.streams |= added
        self._consumer.resume(starts)  # the client remembers a pause from before they were given up
        if any(stream.run is None for stream in added.values()):
            _log.info("%s: assigned %s", self._collection, by_topic(added))
        else:
            _log.info("%s: joined run(s) %s", self._collection, sorted({str(stream.run) for stream in added.values()}))
        _log.debug("%s: from %s", self._collection, [(*place, stream.next_offset) for place, stream in added.items()])

    def _first_reads(self, expected: list[int], applied: Applied) -> dict[Place, Stream]:
        """Streams for the ``expected`` live partitions."""
        if not applied.live:
            raise Refused(
                f"store {self._store_name!r} has not been prepared for collection {self._collection!r}; "
                + how_to_prepare(self._collection, self._store_name)
            )
        added = {}
        for entry in self._committed([TopicPartition(self._live_topic, partition) for partition in expected]):
            committed = entry.offset if entry.offset >= 0 else None
            offset = resume_offset(committed, applied.live.get(entry.partition))
            if offset is None:
                raise Refused(
                    f"the group of store {self._store_name!r} has no first offset for partition {entry.partition} of "
                    f"{self._live_topic}; " + how_to_prepare(self._collection, self._store_name)
                )
            added[entry.topic, entry.partition] = Stream(next_offset=offset, known_below=applied.live[entry.partition])
        return added

    def _riders(self, live: list[int], runs: Sequence[RunRecord], applied: Applied) -> dict[Place, Stream]:
        """Streams for the partitions of ``runs`` beside ``live`` that are neither read nor closed in the store."""
        wanted = []
        for run in runs:
            topic = snapshot_topic(self._namespace, self._collection, run.run)
            for partition in live:
                mark = applied.snapshots.get((run.run, partition))
                if (topic, partition) in self.streams or (mark is not None and mark.closed):
                    continue
                wanted.append((run.run, TopicPartition(topic, partition), mark))
        if not wanted:
            return {}
        committed = self._committed([entry for _, entry, _ in wanted])
        for topic in {entry.topic for _, entry, _ in wanted}:
            with suppress(KafkaException):
                learn_leaders(self._consumer, topic, clock=self._clock, timeout_s=_LEADER_PATIENCE_S)
        added = {}
        for (run_name, entry, mark), answer in zip(wanted, committed, strict=True):
            marked = mark.next_offset if mark is not None else 0
            # Both are chunk boundaries. Below the store's mark everything is redelivery: the tally passes over it.
            offset = marked if answer.offset < 0 else min(marked, answer.offset)
            tally = Tally(next_chunk=mark.next_chunk) if mark is not None else Tally()
            added[entry.topic, entry.partition] = Stream(
                next_offset=offset, known_below=marked, run=run_name, marked=marked, tally=tally
            )
        return added

    def _committed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """What the group has committed. A coordinator that is only just coming up is given time to do so."""
        deadline_s = self._clock.monotonic_s() + _COORDINATOR_PATIENCE_S
        while True:
            try:
                answer: list[TopicPartition] = self._consumer.committed(partitions, timeout=REQUEST_TIMEOUT_S)
                failed = [entry.error for entry in answer if entry.error is not None]
                if not failed:
                    return answer
                error = failed[0]
            except KafkaException as exception:
                error = exception.args[0]
            if self._clock.monotonic_s() > deadline_s:
                raise KafkaException(error)
            _log.info("%s: committed offsets are not known yet (%s)", self._collection, error)
            self._clock.sleep_s(_COORDINATOR_PAUSE_S)

    def drop(self, partitions: list[TopicPartition]) -> set[Place]:
        """Stop reading ``partitions`` and what rides with them; returns every place dropped."""
        numbers = {entry.partition for entry in partitions}
        self._expected -= numbers
        gone = {place for place in self.streams if place[1] in numbers}
        if not gone:
            self._consumer.incremental_unassign([])  # left unsaid, the client would give up what was never read
        self._leave(gone)
        return gone

    def _leave(self, gone: set[Place]) -> None:
        for place in gone:
            del self.streams[place]
        self._paused -= gone
        if gone:
            self._consumer.incremental_unassign([TopicPartition(topic, partition) for topic, partition in gone])
            _log.info("%s: gave up %s", self._collection, by_topic(gone))

    def read_again(self, starts: dict[Place, int]) -> None:
        """Go back to ``starts``: place → offset. What the client holds of these places is dropped."""
        for place, offset in starts.items():
            said = "%s: %s [%d]: the client passed over offset %d; reading from there again"
            _log.warning(said, self._collection, *place, offset)
            self._consumer.seek(TopicPartition(*place, offset))

    def pause(self, wanted: set[Place]) -> None:
        """Make exactly the ``wanted`` places (those owned) paused."""
        wanted &= set(self.streams)
        if pausing := wanted - self._paused:
            self._consumer.pause([TopicPartition(*place) for place in pausing])
        if resuming := self._paused - wanted:
            self._consumer.resume([TopicPartition(*place) for place in resuming])
        self._paused = wanted
