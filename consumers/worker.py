"""The apply side of one collection in one store: poll, decode, conflate, apply, record outcomes, commit.

Two threads. The polling thread owns the consumer: it gathers and decodes the next turn while the applying thread, which
owns the store, brings the current one into it. At most one turn is being applied and one is decoded, so memory does not
depend on the backlog. An offset is committed only behind outcomes, and follows what the store itself recorded.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from .. import failpoints
from ..clock import Clock
from ..config import Config
from ..log.kafka.admin import Admin
from ..log.kafka.clients import consumer_config, unavailable
from ..log.kafka.view import CompactedView
from ..schemas.control import WorkerProgress
from ..schemas.topics import dlq_topic, events_topic, group_id
from ..stores.base import Store
from .accounts import Accounts
from .applying import Abandoned, Applier
from .assignment import Assignment, Place
from .commits import Commits
from .enrolled import refuse_other_enrolment
from .intake import Intake
from .letters import LetterBox
from .progress import ProgressPublisher
from .runs import OpenRuns
from .turn import Turn, TurnMaker

_log = logging.getLogger("vecferry.worker")

_BEAT_S = 1.0
_PATIENCE_S = 0.5  # a turn that takes longer pauses the partitions; polling goes on
_LAST_COMMIT_S = 5.0
# One request at a time waits with a broker: a run that has just appeared is read once the one before it is answered.
_WORKER_DEFAULTS = {"fetch.wait.max.ms": 30}
_LAST_COMMIT_PAUSE_S = 0.1


class CollectionWorker:
    """Feeds ``store`` with ``collection``. ``run`` blocks until ``stop`` is set or nothing can go on."""

    def __init__(
        self,
        config: Config,
        collection: str,
        store_name: str,
        store: Store,
        control: CompactedView,
        clock: Clock,
        instance: str,
    ) -> None:
        self._config = config
        self._collection = collection
        self._store_name = store_name
        self._store = store
        self._control = control
        self._clock = clock
        self._stop = Event()
        described = config.collection(collection)
        namespace, kafka = config.namespace, config.kafka
        self._topic = events_topic(namespace, collection)
        self._maker = TurnMaker(described, self._topic, store_name)
        self._applier = Applier(store, described.space.dimension, clock, self._stop.is_set)
        self._letters = LetterBox(kafka, dlq_topic(namespace, collection), collection, clock)
        self._progress = ProgressPublisher(kafka, namespace, collection, store_name, instance, clock)
        self._live, self._snapshot = Accounts(), Accounts()
        self._redelivered = 0
        group = group_id(namespace, collection, store_name)
        self._admin = Admin(kafka)
        self._commits = Commits(collection)
        ours = {"enable.partition.eof": True, "on_commit": self._commits.answered}
        self._consumer = Consumer({**consumer_config(kafka, group, _WORKER_DEFAULTS), **ours})
        row_bytes = 4 * described.space.dimension
        self._intake = Intake(
            self._consumer, kafka, config.worker, collection, self._topic, row_bytes, self._maker.read_ahead, clock
        )
        self._assignment = Assignment(
            consumer=self._consumer,
            namespace=namespace,
            collection=collection,
            live_topic=self._topic,
            store_name=store_name,
            store_applied=lambda: self._store_thread.submit(self._applier.applied),
            runs=OpenRuns(control, collection, store_name),
            clock=clock,
        )
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix=f"apply-{collection}")
        self._in_flight: tuple[Future[None], Turn] | None = None
        self._waiting: Turn | None = None
        self._failure: BaseException | None = None
        self._broken = self._leaving = False
        self._last_beat_s = self._last_commit_s = clock.monotonic_s()

    def stop(self) -> None:
        """Ask ``run`` to drain, commit and return; callable from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Work until ``stop``; then drain what is in hand, commit and leave the group.

        Raises Refused (the group or the store was never prepared, or retention overtook it), Unavailable, Fatal.
        """
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stop.is_set():
                self._turn()
            self._drain(self._clock.monotonic_s() + self._config.worker.drain_timeout_s)
            self._leaving = True
            self._last_commit()
        except KafkaException as error:
            raise unavailable(self._config.kafka, error) from error
        finally:
            self._stop.set()
            self._leaving = True
            self._consumer.close()
            self._store_thread.shutdown()
            self._progress.beat(self._counters())
            self._progress.flush(5.0)

    def _turn(self) -> None:
        followed = self._assignment.follow()
        self._forget(followed.gone)
        if followed.live:
            self._progress.own(followed.live, self._assignment.complete)
            self._progress.applied(followed.marks)
        try:
            messages = self._intake.gather(store_rests=self._store_rests)
        finally:
            self._raise_failure()  # what a callback met explains what the client says after it
        if messages:
            turn = self._maker.make(messages, self._assignment.streams)
            self._assignment.read_again(turn.passed_over)
            if not turn.empty:
                self._waiting = turn
                self._finish(None)
                self._start_waiting()
        elif self._in_flight is not None and self._in_flight[0].done():
            self._finish(None)
        self._housekeeping()

    def _store_rests(self) -> bool:
        return self._in_flight is None or self._in_flight[0].done()

    def _start_waiting(self) -> None:
        if self._waiting is not None:
            turn, self._waiting = self._waiting, None
            self._in_flight = (self._store_thread.submit(self._bring, turn), turn)

    def _bring(self, turn: Turn) -> None:
        """In the applying thread. Once a turn has failed no later one may pass it: its marks would stand for both."""
        if self._broken:
            raise Abandoned(f"{self._collection}: an earlier batch failed; what follows it will be read again")
        self._broken = True
        self._apply(turn)
        self._broken = False

    def _apply(self, turn: Turn) -> None:
        """Letters first, then rows and marks, then say so."""
        self._letters.post(turn.unposted(turn.letters))
        failpoints.hit("worker.before-apply")
        applied = self._applier.apply(turn.batch, turn.marks)
        if applied.rejected:
            letters = [self._maker.letter(turn, row, why) for row, why in applied.rejected.items()]
            self._letters.post(turn.unposted(letters))
            self._applier.mark(turn.marks)
        failpoints.hit("worker.applied")
        live, snapshot = np.split(applied.outcomes, [turn.live_rows])
        self._live.settle(turn.live_events, live, turn.live_letters)
        self._snapshot.settle(turn.snapshot_events, snapshot, len(turn.letters) - turn.live_letters)
        self._redelivered += turn.redelivered
        self._progress.applied(turn.marks)
        for place, problem in turn.problems.items():
            stream = turn.streams[place]
            _log.error("%s [%d]: %s; this store stays incomplete", *place, problem)
            self._progress.problem(str(stream.run), place[1], stream.tally.next_chunk, problem)
        self._store.maintain()

    def _finish(self, deadline_s: float | None) -> bool:
        """Wait until no turn is in flight, polling meanwhile; False when ``deadline_s`` came first."""
        # Polling may take partitions away, which drains: what is in flight is looked at anew each time.
        while self._in_flight is not None:
            future, turn = self._in_flight
            if wait([future], _PATIENCE_S if deadline_s is None else 0.05).done:
                self._settle(future, turn)
            elif deadline_s is None:
                self._assignment.pause(set(self._assignment.streams))
                try:
                    self._intake.hold()
                finally:
                    self._raise_failure()
                self._housekeeping()
            elif self._clock.monotonic_s() > deadline_s:
                return False
        return True

    def _settle(self, future: Future[None], turn: Turn) -> None:
        self._in_flight = None
        future.result()
        for place, offset in turn.reached.items():
            if self._assignment.streams.get(place) is turn.streams[place]:
                self._commits.note(place, offset)
        self._assignment.pause(self._too_early())

    def _drain(self, deadline_s: float) -> None:
        """Bring what is in hand into the store; raises Abandoned when that takes too long or cannot be."""
        if self._finish(deadline_s):
            self._start_waiting()
            if self._finish(deadline_s):
                return
        raise Abandoned(f"{self._collection}: the store did not finish its batch in time; it will be read again")

    def _too_early(self) -> set[Place]:
        """The snapshot places, while live events lag: live first."""
        riding = {place for place, stream in self._assignment.streams.items() if stream.run is not None}
        if not riding:
            return riding
        lag = 0
        for partition in self._assignment.live():
            stream = self._assignment.streams[self._topic, partition]
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            lag += max(0, high - stream.next_offset)
        return riding if lag > self._config.worker.live_lag_bound_records else set()

    def _housekeeping(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_beat_s >= _BEAT_S:
            self._last_beat_s = now_s
            self._progress.beat(self._counters())
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

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        try:
            # Left unsaid, the client would read them from where the group stands.
            self._consumer.incremental_assign([])
            if self._leaving:
                return  # a closing client answers no question
            refuse_other_enrolment(self._control, self._admin, self._config.collection(self._collection), self._topic)
            self._assignment.expect(partitions)
        except BaseException as error:  # noqa: BLE001  a callback cannot raise; the loop does it next
            self._failure = error

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            # A worker that leaves has had its time.
            self._drain(self._clock.monotonic_s() + (0.0 if self._leaving else self._config.worker.drain_timeout_s))
            self._commits.send(self._consumer, wait_for_it=True)
        except Abandoned as abandoned:
            _log.warning("%s", abandoned)
        except BaseException as error:  # noqa: BLE001  a callback cannot raise; the loop does it next
            self._failure = error
        self._give_up(partitions)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        _log.warning("%s: lost its partitions; what is in hand is not committed", self._collection)
        self._give_up(partitions)

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        gone = self._assignment.drop(partitions)
        self._progress.disown({place[1] for place in gone})
        self._forget(gone)

    def _forget(self, gone: set[Place]) -> None:
        self._intake.forget(gone)
        self._commits.forget(gone)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
