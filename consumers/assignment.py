"""Which partitions a worker owns, and where each resumes. A live partition brings its snapshot partitions along.

The worker that owns live partition p also reads partition p of every open run into its store: added when p is
assigned or the run appears, taken away with p, committed under the same group. What is assigned is read as soon as the
store has said how far it is. All methods are called from the worker's polling thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ..errors import Refused, Unavailable
from ..executor import Executor
from ..journal.log_end import beyond_the_end
from ..journal.run import RunRecord
from ..log.port import Consumer, Place, TopicAbsent
from ..schemas.batch import Applied, SnapshotMark
from ..schemas.topics import snapshot_topic
from ..wording import ranges
from .ordering import resume_offset
from .partition import Owned, Partition
from .tally import Tally

_log = logging.getLogger("vecferry.worker")

_ANSWER_PATIENCE_S = 0.05  # a store that is well answers sooner; another one shall not keep this member from polling


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What ``Assignment.follow`` has changed.

    live    whether reading of live partitions has begun
    marks   the store's marks of these partitions in all runs; an earlier owner may have died before it published them
    """

    live: bool = False
    marks: tuple[SnapshotMark, ...] = ()


def how_to_prepare(collection: str, store: str) -> str:
    """The remedy for a store that was never prepared; it depends on whether the migration's section names the store."""
    return (
        f"run `vecferry enrol {collection}` if migrations.{collection} names the store, and "
        f"`vecferry replay {collection} --run RUN --into {store}` if it does not; then start the worker"
    )


def by_topic(places: Iterable[Place]) -> str:
    """``places`` as text: each topic once, with its partitions as ranges."""
    numbers: dict[str, list[int]] = {}
    for topic, partition in places:
        numbers.setdefault(topic, []).append(partition)
    return ", ".join(f"{topic} [{ranges(found)}]" for topic, found in sorted(numbers.items())) or "nothing"


class Assignment:
    """Adds to ``owned`` and removes from it: the partitions of one collection's consumer."""

    def __init__(
        self,
        *,
        consumer: Consumer,
        owned: Owned,
        namespace: str,
        collection: str,
        live_topic: str,
        store_name: str,
        store_applied: Callable[[], Future[Applied]],
        executor: Executor,
        runs: Callable[[], Sequence[RunRecord]],
        log_ends: Callable[[], Sequence[int]],
    ) -> None:
        """``log_ends``: where the live topic ends, by partition; raises Refused for another topic than was enrolled."""
        self._consumer = consumer
        self._owned = owned
        self._namespace = namespace
        self._collection = collection
        self._live_topic = live_topic
        self._store_name = store_name
        self._who = f"store {store_name} has applied"
        self._store_applied = store_applied
        self._executor = executor
        self._runs = runs
        self._log_ends = log_ends
        self._unknown = False  # it was said that Kafka does not tell where the live topic ends
        self._seen_runs: frozenset[str] = frozenset()
        self._expected: set[int] = set()  # live partitions that are owned, and not read yet
        self._asked: Future[Applied] | None = None

    @property
    def expected(self) -> frozenset[int]:
        """The assigned live partitions that are not read yet: the store has not yet returned where they resume."""
        return frozenset(self._expected)

    def live(self) -> list[int]:
        """The owned live partitions that are read, ascending."""
        return sorted(partition for (topic, partition) in self._owned if topic == self._live_topic)

    def expect(self, partitions: Sequence[int]) -> None:
        """Note newly assigned live ``partitions``. ``follow`` reads them once the store has returned its marks.

        A rebalance must not wait for the store: if the store is down, the group would expel the member for not polling.
        """
        self._expected |= set(partitions)
        self._asked = self._store_applied()  # an earlier answer is too old: another owner has written since

    def follow(self) -> Followed:
        """Read what was assigned and the runs that have appeared since; drop the runs that were cancelled.

        Asks the store for its marks and waits only a moment; until the store answers, no new partition is read. Cheap
        when nothing has changed. Raises Refused (LogWentBack before anything is applied), and any error of the store.
        """
        runs = self._runs()
        names = frozenset(run.run for run in runs)
        self._leave({place for place, one in self._owned.items() if one.run is not None and one.run not in names})
        if not self._expected and names == self._seen_runs:
            self._asked = None
            return Followed()
        if self._asked is None:
            self._asked = self._store_applied()
        if not self._executor.wait(self._asked, _ANSWER_PATIENCE_S):
            return Followed()
        ends = self._ends() if self._expected else ()
        if ends is None:
            return Followed()
        applied, self._asked = self._asked.result(), None
        expected, self._expected, self._seen_runs = sorted(self._expected), set(), names
        added = self._first_reads(expected, applied, ends) if expected else []
        added += self._snapshot_reads([*self.live(), *expected], runs, applied)
        self._begin(added)
        return Followed(
            live=bool(expected), marks=tuple(mark for mark in applied.snapshots.values() if mark.partition in expected)
        )

    def _ends(self) -> Sequence[int] | None:
        """Where the live topic ends; None while Kafka does not say."""
        try:
            ends = self._log_ends()
        except TopicAbsent as error:
            raise Refused(f"{error}; run `vecferry doctor {self._collection}`") from error
        except Unavailable as error:
            if not self._unknown:
                _log.warning("%s: nothing is read before Kafka says where its topic ends: %s", self._collection, error)
            self._unknown = True
            return None
        self._unknown = False
        return ends

    def went_back(self) -> Refused | None:
        """What to raise if the live topic ends before what was read of it; None if it does not, or is not known."""
        read = {place[1]: one.next_offset for place, one in self._owned.items() if place[0] == self._live_topic}
        try:
            ends = self._log_ends()
        except Unavailable:
            return None
        except Refused as refused:
            return refused
        return beyond_the_end(self._collection, self._live_topic, self._who, read, ends)

    def _begin(self, added: list[Partition]) -> None:
        if not added:
            return
        self._consumer.read({partition.place: partition.next_offset for partition in added})
        self._owned |= {partition.place: partition for partition in added}
        if any(partition.run is None for partition in added):
            _log.info("%s: assigned %s", self._collection, by_topic(partition.place for partition in added))
        else:
            _log.info("%s: joined run(s) %s", self._collection, sorted({str(partition.run) for partition in added}))
        _log.debug("%s: from %s", self._collection, [(*one.place, one.next_offset) for one in added])

    def _first_reads(self, expected: list[int], applied: Applied, ends: Sequence[int]) -> list[Partition]:
        """The ``expected`` live partitions, each with the offset at which it resumes."""
        if not applied.live:
            raise Refused(
                f"store {self._store_name!r} has not been prepared for collection {self._collection!r}; "
                + how_to_prepare(self._collection, self._store_name)
            )
        places = [(self._live_topic, partition) for partition in expected]
        committed = self._consumer.committed(places)
        reached = {place[1]: max(applied.live.get(place[1], 0), committed.get(place, 0)) for place in places}
        if failure := beyond_the_end(self._collection, self._live_topic, self._who, reached, ends):
            raise failure
        added = []
        for place in places:
            offset = resume_offset(committed.get(place), applied.live.get(place[1]))
            if offset is None:
                raise Refused(
                    f"the group of store {self._store_name!r} has no first offset for partition {place[1]} of "
                    f"{self._live_topic}; " + how_to_prepare(self._collection, self._store_name)
                )
            known, complete = applied.live[place[1]], place[1] in applied.complete
            added.append(
                Partition(
                    place=place,
                    next_offset=offset,
                    handled_below=known,
                    applied=known,
                    clean_from=max(offset, known),  # of what lies below, another worker may have posted letters
                    complete=complete,
                )
            )
        return added

    def _snapshot_reads(self, live: list[int], runs: Sequence[RunRecord], applied: Applied) -> list[Partition]:
        """The snapshot partitions of ``runs`` beside ``live`` that are neither read yet nor closed in the store."""
        wanted = []
        for run in runs:
            topic = snapshot_topic(self._namespace, self._collection, run.run)
            for partition in live:
                mark = applied.snapshots.get((run.run, partition))
                if (topic, partition) not in self._owned and (mark is None or not mark.closed):
                    wanted.append((run.run, (topic, partition), mark))
        committed = self._consumer.committed([place for _, place, _ in wanted]) if wanted else {}
        added = []
        for run_name, place, mark in wanted:
            marked = mark.next_offset if mark is not None else 0
            # Both are chunk boundaries. Messages below the store's mark are redelivered, and the tally ignores them.
            offset = min(marked, committed.get(place, marked))
            tally = Tally(next_chunk=mark.next_chunk) if mark is not None else Tally()
            added.append(
                Partition(
                    place=place, next_offset=offset, handled_below=marked, run=run_name, marked=marked, tally=tally
                )
            )
        return added

    def drop(self, partitions: Sequence[int]) -> None:
        """Stop reading live ``partitions`` and the snapshot partitions of the same numbers."""
        numbers = set(partitions)
        self._expected -= numbers
        self._leave({place for place in self._owned if place[1] in numbers})

    def _leave(self, gone: set[Place]) -> None:
        if gone:
            for place in gone:
                del self._owned[place]
            self._consumer.leave(gone)
            _log.info("%s: gave up %s", self._collection, by_topic(gone))

    def read_again(self, starts: dict[Place, int]) -> None:
        """Seek to ``starts``: partition of a topic → offset. The client drops what it has fetched of them."""
        for place, offset in starts.items():
            said = "%s: %s [%d]: the client passed over offset %d; reading from there again"
            _log.warning(said, self._collection, *place, offset)
            self._consumer.seek(place, offset)

    def pause(self, wanted: Callable[[Partition], bool]) -> None:
        """Pause the owned partitions for which ``wanted`` is true, and resume the others."""
        changed: dict[bool, set[Place]] = {True: set(), False: set()}
        for place, partition in self._owned.items():
            if wanted(partition) != partition.paused:
                partition.paused = not partition.paused
                changed[partition.paused].add(place)
        if changed[True]:
            self._consumer.pause(changed[True])
        if changed[False]:
            self._consumer.resume(changed[False])
