"""What is in hand when a worker stops or gives up partitions: brought in and committed, or left and read again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from applied_log import settled, values
from log_world import NAME, PARTITIONS, World, world
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.applying import Abandoned
from vecferry.consumers.assignment import Stream
from vecferry.consumers.worker import CollectionWorker
from waiting import wait_until

pytestmark = pytest.mark.server


def test_a_batch_in_hand_is_brought_in_and_committed(kafka_bootstrap: str) -> None:
    in_hand, release = threading.Event(), threading.Event()

    def slow(method: str) -> None:
        if method == "apply":
            in_hand.set()
            assert release.wait(60)

    with world(kafka_bootstrap, worker={"commit_interval_ms": 10_000}) as log:
        store = log.store(before=slow)
        log.upsert("id", 1.0)
        log.flush()
        running = log.start(store)
        assert in_hand.wait(30)
        running.worker.stop()
        release.set()
        running.join()
        assert values(store) == {"id": 1.0}
        ends = log.admin.end_offsets(log.topic, PARTITIONS)
        assert log.admin.committed(log.group, log.topic, PARTITIONS) == dict(enumerate(ends))


def test_a_batch_that_takes_too_long_is_not_committed_and_read_again(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    in_hand, release = threading.Event(), threading.Event()

    def stuck(method: str) -> None:
        if method == "apply":
            in_hand.set()
            assert release.wait(60)

    with world(kafka_bootstrap, worker={"drain_timeout_s": 0.3}) as log:
        store = log.store(before=stuck)
        log.upsert("id", 1.0)
        log.flush()
        running = log.start(store)
        assert in_hand.wait(30)
        running.worker.stop()
        wait_until(lambda: "did not finish its batch in time" in caplog.text)  # said when the group was left
        release.set()
        with pytest.raises(Abandoned, match="things: the store did not finish its batch in time"):
            running.join()
        assert log.admin.committed(log.group, log.topic, PARTITIONS) == dict.fromkeys(range(PARTITIONS), 0)
        running = log.start(store, "two")
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert values(store) == {"id": 1.0}


@contextmanager
def two_turns(
    log: World, monkeypatch: pytest.MonkeyPatch, second: threading.Event, failure: Exception | None
) -> Iterator[CollectionWorker]:
    """A worker with a turn in flight, up to offset 10, and one waiting, up to 20. The first ends while the worker polls
    for the first time, which brings a revocation; the second takes until ``second`` is set, and ends with ``failure``.
    """
    worker = CollectionWorker(log.config, NAME, "new", log.store(), log.control, SYSTEM_CLOCK, "one")
    place, stream, polled = (log.topic, 0), Stream(next_offset=20, known_below=0), threading.Event()
    worker._assignment.streams[place] = stream
    turns: list[Any] = [SimpleNamespace(reached={place: end}, streams={place: stream}) for end in (10, 20)]

    def apply(turn: object) -> None:
        if turn is turns[0]:
            assert polled.wait(60)
            return
        assert second.wait(60)
        if failure is not None:
            raise failure

    def hold() -> None:
        if not polled.is_set():
            polled.set()
            assert worker._in_flight is not None
            worker._in_flight[0].result(60)
            worker._on_revoke(worker._consumer, [])
            second.set()

    monkeypatch.setattr(worker, "_apply", apply)
    monkeypatch.setattr(worker._intake, "hold", hold)
    monkeypatch.setattr(worker._assignment, "pause", lambda wanted: None)
    worker._waiting = turns[0]
    worker._start_waiting()
    worker._waiting = turns[1]
    try:
        yield worker
    finally:
        worker._consumer.close()
        worker._store_thread.shutdown()


def test_a_revocation_while_the_worker_waits_takes_no_commit_back(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = threading.Event()
    second.set()
    with world(kafka_bootstrap) as log, two_turns(log, monkeypatch, second, None) as worker:
        assert worker._finish(None)
        assert worker._commits.send(worker._consumer, wait_for_it=True)
        assert log.admin.committed(log.group, log.topic, PARTITIONS)[0] == 20


def test_a_turn_that_outlives_a_revocation_still_counts(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failure = RuntimeError("the disk is full")
    with (
        caplog.at_level(logging.WARNING),
        world(kafka_bootstrap, worker={"drain_timeout_s": 0.3}) as log,
        two_turns(log, monkeypatch, threading.Event(), failure) as worker,
    ):
        with pytest.raises(RuntimeError, match="the disk is full"):
            worker._finish(None)
        assert "did not finish its batch in time" in caplog.text
