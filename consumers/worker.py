"""The apply side of one collection in one store: poll, decode, conflate, apply, record outcomes, commit.

Two threads. The polling thread owns the consumer: it gathers and decodes the next turn while the applying thread, which
owns the store, brings the current one into it. At most one turn is being applied and one is decoded, so memory does not
depend on the backlog. An offset is committed only after its events have outcomes, and after the store's own mark.

``step`` is one turn of the loop. A simulation passes an executor that runs tasks when the simulation says so; the
worker then has no thread of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Event

import numpy as np

from .. import failpoints
from ..clock import Clock
from ..config import Config
from ..errors import Refused
from ..executor import Executor, OneThread
from ..forks import Home
from ..journal.enrolled import refuse_other_configuration, refuse_other_enrolment
from ..journal.log_end import LogWentBack
from ..journal.progress import WorkerProgress
from ..journal.runs import OpenRuns
from ..log.port import Log, Table
from ..schemas.topics import dlq_topic, events_topic, group_id
from ..stores.base import Store
from .accounts import Accounts
from .applying import Abandoned, Applier
from .assignment import Assignment
from .commits import Commits
from .intake import Intake
from .letters import Letter, LetterBox, note_letters
from .looking import IdleLook
from .partition import Owned, Partition
from .progress import ProgressPublisher
from .turn import Turn, TurnMaker

_log = logging.getLogger("vecferry.worker")

_BEAT_S = 1.0
_PATIENCE_S = 0.5  # a turn that takes longer pauses the partitions, and polling continues
_DRAIN_LOOK_S = 0.05
_LAST_COMMIT_S = 5.0
_LAST_COMMIT_PAUSE_S = 0.1
_LAST_FLUSH_S = 5.0


class CollectionWorker:
    """Feeds ``store`` with ``collection``: ``run`` it, or ``open``, ``step`` and ``close`` it."""

    def __init__(
        self,
        config: Config,
        collection: str,
        store_name: str,
        store: Store,
        log: Log,
        control: Table,
        clock: Clock,
        instance: str,
        executor: Executor | None = None,
    ) -> None:
        self._config = config
        self._collection = collection
        self._store = store
        self._log = log
        self._control = control
        self._clock = clock
        self._home = Home(f"this worker of collection {collection!r}", self)
        self._stop = Event()
        described = config.collection(collection)
        namespace = config.namespace
        self._topic = events_topic(namespace, collection)
        self.owned: Owned = {}
        self._maker = TurnMaker(described, self._topic, store_name)
        self._applier = Applier(store, described.space.dimension, clock, self._stop.is_set)
        self._letters = LetterBox(log.sender(), dlq_topic(namespace, collection), collection, clock)
        key = (collection, store_name, instance)
        self._progress = ProgressPublisher(log.sender(), namespace, self._topic, key, self.owned, clock)
        self._live, self._snapshot = Accounts(), Accounts()
        self._redelivered = 0
        self._commits = Commits(collection, self.owned)
        self._consumer = log.consumer(group_id(namespace, collection, store_name), self._commits.answered)
        self._executor = executor or OneThread(f"apply-{collection}")
        self._assignment = Assignment(
            consumer=self._consumer,
            owned=self.owned,
            namespace=namespace,
            collection=collection,
            live_topic=self._topic,
            store_name=store_name,
            store_applied=lambda: self._executor.submit(self._applier.applied),
            executor=self._executor,
            runs=OpenRuns(control, collection, store_name),
            log_ends=self._log_ends,
        )
        row_bytes = 4 * described.space.dimension
        self._intake = Intake(
            self._consumer,
            self.owned,
            config.worker,
            collection,
            row_bytes,
            self._maker.read_ahead,
            clock,
            self._assignment.went_back,
        )
        self._idle = IdleLook(self._executor, self._applier.applied, clock)
        self._in_flight: tuple[Future[None], Turn] | None = None
        self._waiting: Turn | None = None
        self._broken = self._leaving = False
        self._refusal: Refused | None = None
        self._last_beat_s = self._last_commit_s = clock.monotonic_s()

    @property
    def expected(self) -> frozenset[int]:
        """The assigned live partitions that are not read yet: the store has not yet returned where they resume."""
        return self._assignment.expected

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop, or has failed."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask ``run`` to drain, commit and return; callable from any thread."""
        self._stop.set()

    def reached(self) -> dict[int, int]:
        """By live partition that is read: the offset to read next. Callable from any thread."""
        return {place[1]: one.next_offset for place, one in list(self.owned.items()) if one.run is None}

    def refuse(self, problem: Refused) -> None:
        """Apply nothing more, because of ``problem``, which ``run`` then raises; callable from any thread."""
        self._refusal = problem

    def run(self) -> None:
        """Work until ``stop``; then finish the turns that were begun, commit and leave the group. Blocks.

        Raises Refused (the group or the store was never prepared, or retention overtook it), Unavailable, Fatal.
        """
        try:
            self.open()
            while not self._stop.is_set():
                self.step()
            self.drain()
        finally:
            self.close()

    def open(self) -> None:
        """Join the group; raises Refused when the configuration has left what was enrolled."""
        self._home.check()
        refuse_other_configuration(self._control, self._config.collection(self._collection))
        self._consumer.subscribe(self._topic, self)

    def drain(self) -> None:
        """Finish the turns that were begun, and commit. Blocks for ``drain_timeout_s``; raises Abandoned."""
        self._home.check()
        self._stop.set()
        self._bring_in(self._clock.monotonic_s() + self._config.worker.drain_timeout_s)
        self._leaving = True
        self._last_commit()

    def close(self) -> None:
        """Leave the group. The next owner reads the unfinished turns again. Does nothing in a forked child."""
        if self._home.left:
            return
        self._stop.set()
        self._leaving = True
        self._consumer.close()
        self._executor.shutdown()
        self._progress.beat(self._counters())
        self._progress.flush(_LAST_FLUSH_S)

    def step(self) -> None:
        """One turn: follow the group and the runs, gather, decode, hand over to the store, commit what it has taken."""
        self._home.check()
        if self._refusal is not None:
            raise self._refusal
        try:
            followed = self._assignment.follow()
        except LogWentBack as failure:
            self._progress.beyond(failure.applied)  # so that no publisher opens
            raise
        if followed.live:
            self._progress.beat(None)
            self._progress.applied(followed.marks)
        messages = self._intake.gather(store_is_idle=self._store_is_idle)
        if messages:
            turn = self._maker.make(messages, self.owned)
            self._assignment.read_again(turn.passed_over)
            if not turn.empty:
                self._waiting = turn
                self._finish(None)
                self._start_waiting()
        elif self._in_flight is not None and self._in_flight[0].done():
            self._finish(None)
        self._housekeeping()

    def assigned(self, partitions: list[int]) -> None:
        """Called by the consumer: these partitions are ours now."""
        if partitions and not self._leaving:  # a closing client answers no question
            self._assignment.expect(partitions)

    def revoked(self, partitions: list[int]) -> None:
        """Called by the consumer: these partitions are about to get another owner."""
        # A worker that leaves has drained already.
        patience_s = 0.0 if self._leaving else self._config.worker.drain_timeout_s
        try:
            self._bring_in(self._clock.monotonic_s() + patience_s)
            self._commits.send(self._consumer, wait_for_it=True)
        except Abandoned as abandoned:
            _log.warning("%s", abandoned)
        finally:
            self._assignment.drop(partitions)

    def lost(self, partitions: list[int]) -> None:
        """Called by the consumer: these partitions may already have another owner."""
        _log.warning("%s: lost its partitions; the batch being applied is not committed", self._collection)
        self._assignment.drop(partitions)

    def _log_ends(self) -> tuple[int, ...]:
        """Where the live topic ends, open transactions included; raises Refused for another topic than was enrolled."""
        described = self._config.collection(self._collection)
        refuse_other_enrolment(self._control, self._log.admin, described, self._topic)
        return self._log.admin.end_offsets(self._topic, described.partitions)

    def _store_is_idle(self) -> bool:
        return self._in_flight is None or self._in_flight[0].done()

    def _start_waiting(self) -> None:
        if self._waiting is not None:
            turn, self._waiting = self._waiting, None
            self._in_flight = (self._executor.submit(lambda: self._bring(turn)), turn)

    def _bring(self, turn: Turn) -> None:
        """In the applying thread. After a failed turn no later one is applied: its marks would cover the failed one."""
        if self._broken:
            raise Abandoned(f"{self._collection}: an earlier batch failed; later events will be read again")
        self._broken = True
        self._apply(turn)
        self._broken = False

    def _apply(self, turn: Turn) -> None:
        """Post the letters, write rows and marks, then publish progress."""
        self._post(turn, turn.letters)
        failpoints.hit("worker.before-apply")
        applied = self._applier.apply(turn.batch, turn.marks)
        if applied.rejected:
            letters = [self._maker.letter(turn, row, why) for row, why in applied.rejected.items()]
            self._post(turn, letters)
            self._applier.mark(turn.marks)
        failpoints.hit("worker.applied")
        live, snapshot = np.split(applied.outcomes, [turn.live_rows])
        self._live.settle(turn.live_events, live, turn.live_letters)
        self._snapshot.settle(turn.snapshot_events, snapshot, len(turn.letters) - turn.live_letters)
        self._redelivered += turn.redelivered
        self._progress.applied(turn.marks)
        for place, problem in turn.problems.items():
            partition = turn.partitions[place]
            _log.error("%s [%d]: %s; this store stays incomplete", *place, problem)
            self._progress.problem(str(partition.run), place[1], partition.tally.next_chunk, problem)
        self._store.maintain()

    def _post(self, turn: Turn, letters: Sequence[Letter]) -> None:
        self._letters.post(turn.unposted(letters))
        note_letters(letters, turn.partitions)  # before the mark passes them, and with it the progress

    def _finish(self, deadline_s: float | None) -> bool:
        """Wait until no turn is in flight, and poll meanwhile; False when ``deadline_s`` came first."""
        # Polling may revoke partitions, and a revocation finishes turns: read ``_in_flight`` again each time.
        while self._in_flight is not None:
            future, turn = self._in_flight
            if self._executor.wait(future, _PATIENCE_S if deadline_s is None else _DRAIN_LOOK_S):
                self._settle(future, turn)
            elif deadline_s is None:
                self._assignment.pause(lambda partition: True)
                self._intake.hold()
                self._housekeeping()
            elif self._clock.monotonic_s() > deadline_s:
                return False
        return True

    def _settle(self, future: Future[None], turn: Turn) -> None:
        self._in_flight = None
        future.result()
        for place, offset in turn.reached.items():
            if self.owned.get(place) is turn.partitions[place]:  # otherwise it was revoked meanwhile
                turn.partitions[place].finished = offset
        lags = self._live_lags()
        self._assignment.pause(lambda partition: lags and partition.run is not None)

    def _bring_in(self, deadline_s: float) -> None:
        """Finish the turn in flight and the waiting one; raises Abandoned when they are not done by ``deadline_s``."""
        if self._finish(deadline_s):
            self._start_waiting()
            if self._finish(deadline_s):
                return
        raise Abandoned(f"{self._collection}: the store did not finish its batch in time; it will be read again")

    def _live_lags(self) -> bool:
        """Whether live events lag so far that snapshot partitions are paused."""
        partitions = self.owned.values()
        if all(partition.run is None for partition in partitions):
            return False
        lag = sum(self._lag(partition) for partition in partitions if partition.run is None)
        return lag > self._config.worker.live_lag_bound_records

    def _lag(self, partition: Partition) -> int:
        end = self._consumer.seen_end(partition.place)
        return 0 if end is None else max(0, end - partition.next_offset)

    def _housekeeping(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_beat_s >= _BEAT_S:
            self._last_beat_s = now_s
            self._progress.beat(self._counters())
        self._idle.turn(store_is_idle=self._store_is_idle())
        if self._commits.open() and now_s - self._last_commit_s >= self._config.worker.commit_interval_ms / 1000:
            self._last_commit_s = now_s
            self._commits.send(self._consumer, wait_for_it=False)

    def _counters(self) -> WorkerProgress:
        return WorkerProgress(
            beat_unix_s=self._clock.unix_s(),
            live=self._live.as_dict(),
            snapshot=self._snapshot.as_dict(),
            redelivered=self._redelivered,
        )

    def _last_commit(self) -> None:
        # Kafka refuses the commits of members while their group rebalances, and that ends only while they poll.
        until_s = self._clock.monotonic_s() + _LAST_COMMIT_S
        while not self._commits.send(self._consumer, wait_for_it=True) and self._clock.monotonic_s() < until_s:
            self._consumer.poll(0)
            self._clock.sleep_s(_LAST_COMMIT_PAUSE_S)
