"""What is in hand when a worker stops or gives up partitions: brought in and committed, or left and read again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from applied_log import settled, values
from log_world import PARTITIONS, world
from memory_store import MemoryStore
from memory_world import MemoryWorld
from stepped_executor import SteppedExecutor
from vecferry.consumers.applying import Abandoned
from vecferry.consumers.worker import CollectionWorker
from vecferry.log.port import Message
from waiting import wait_until
from wrapped_log import WrappedConsumer, WrappedLog


@pytest.mark.server
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


@pytest.mark.server
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


class Revoking(WrappedConsumer):
    """A consumer whose group takes nothing away, and says so, once: when the worker polls to stay a member.

    ``first_ends`` is called right before.
    """

    first_ends: Callable[[], object] | None = None

    def poll(self, timeout_s: float) -> Message | None:
        if timeout_s == 0 and self.first_ends is not None:
            self.first_ends()
            self.first_ends = None
            assert self.listener is not None
            self.listener.revoked([])
        return super().poll(timeout_s)


ROWS = 10  # of a turn


def two_turns(world: MemoryWorld, store: MemoryStore, is_quick: Callable[[], bool]) -> CollectionWorker:
    """A worker that has a turn in flight when it has the next one at hand. The first ends while the worker polls to
    stay a member, which brings a revocation; from then on ``is_quick`` says whether the store is.
    """
    executor, log = SteppedExecutor(world.clock), WrappedLog(world.log, Revoking)
    worker = world.worker(store, executor, log=log)
    worker.open()
    while len(worker.owned) < PARTITIONS:
        worker.step()
    executor.is_quick = lambda: False

    def first_ends() -> None:
        executor.run_one()
        executor.is_quick = is_quick

    (consumer,) = log.made
    assert isinstance(consumer, Revoking)
    consumer.first_ends = first_ends
    for turn in range(2):
        for number in range(ROWS):
            world.upsert(f"id-{number}", 1.0)
        if turn == 0:
            worker.step()  # it is in flight from now on
    return worker


def test_a_revocation_while_the_worker_waits_takes_no_commit_back() -> None:
    world = MemoryWorld(worker={"commit_interval_ms": 0})
    store = world.store()
    worker = two_turns(world, store, lambda: True)
    worker.step()
    worker.step()
    assert sum(world.committed().values()) == sum(store.live.values()) == 2 * ROWS


def test_a_turn_that_outlives_a_revocation_still_counts(caplog: pytest.LogCaptureFixture) -> None:
    world = MemoryWorld(worker={"drain_timeout_s": 0.3})
    applied: list[str] = []

    def refuse_second(method: str) -> None:
        if method == "apply":
            applied.append(method)
            if len(applied) > 1:
                raise RuntimeError("the disk is full")

    store = MemoryStore(world.collection, before=refuse_second)
    store.create(complete=False)
    looks = iter([False] * 20 + [True] * 20)
    worker = two_turns(world, store, lambda: next(looks))
    with caplog.at_level(logging.WARNING), pytest.raises(RuntimeError, match="the disk is full"):
        worker.step()
    assert "did not finish its batch in time" in caplog.text
    assert sum(store.live.values()) == ROWS
