"""Partitions that come and go while the store is slow or away: none of them stays silent, no member is lost."""

from __future__ import annotations

import threading

import pytest
from applied_log import settled, values
from log_world import NAME, PARTITIONS, Running, world
from vecferry.journal.progress import WorkerProgress, worker_progress_key
from waiting import wait_until

pytestmark = pytest.mark.server


def owned(running: Running) -> set[int]:
    return {partition for _, partition in list(running.worker.owned)}


def all_paused(running: Running) -> bool:
    partitions = list(running.worker.owned.values())
    return len(partitions) == PARTITIONS and all(partition.paused for partition in partitions)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_that_was_paused_when_it_was_given_up_is_read_when_it_comes_back(
    kafka_bootstrap: str, protocol: str
) -> None:
    in_hand, open_gate = threading.Event(), threading.Event()

    def slow(method: str) -> None:
        if method == "apply":
            in_hand.set()
            assert open_gate.wait(300)

    with world(kafka_bootstrap, worker={"drain_timeout_s": 0.5}, client={"group.protocol": protocol}) as log:
        store = log.store(before=slow)
        first = log.start(store, "first")
        first.wait_until(lambda: len(owned(first)) == PARTITIONS)
        for number in range(30):
            log.upsert(f"early-{number}", 1.0)
        log.flush()
        assert in_hand.wait(90)
        for number in range(30):
            log.upsert(f"next-{number}", 1.0)  # the worker waits only when it has another turn
        log.flush()
        first.wait_until(lambda: all_paused(first))
        second = log.start(store, "second")
        first.wait_until(lambda: len(owned(first)) < PARTITIONS)
        open_gate.set()
        second.wait_until(lambda: owned(second))
        second.stop()
        first.wait_until(lambda: len(owned(first)) == PARTITIONS)
        for number in range(30):
            log.upsert(f"late-{number}", 2.0)
        log.flush()
        first.wait_until(lambda: settled(log, store))
        first.stop()
        assert len(values(store)) == 90


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_rebalance_does_not_wait_for_the_store(kafka_bootstrap: str, protocol: str) -> None:
    """Partitions are assigned, and taken away unread, while the store does not answer; the members poll and beat."""
    answers = threading.Event()

    def away(method: str) -> None:
        if method == "applied":
            assert answers.wait(300)

    with world(kafka_bootstrap, client={"group.protocol": protocol}) as log:
        store = log.store(before=away)
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()

        def beats(instance: str) -> float:
            record = log.progress.get(worker_progress_key(NAME, "new", instance))
            return 0.0 if record is None else WorkerProgress.model_validate_json(record).beat_unix_s

        first = log.start(store, "first")
        first.wait_until(lambda: len(first.worker.expected) == PARTITIONS)
        second = log.start(store, "second")
        second.wait_until(lambda: second.worker.expected)
        first.wait_until(lambda: len(first.worker.expected) < PARTITIONS)
        for running, instance in ((first, "first"), (second, "second")):
            before = beats(instance)
            running.wait_until(lambda name=instance, since=before: beats(name) > since)
        assert not values(store)
        answers.set()
        first.wait_until(lambda: settled(log, store))
        assert owned(first) | owned(second) == set(range(PARTITIONS))
        second.stop()
        first.wait_until(lambda: len(owned(first)) == PARTITIONS)
        first.stop()
        assert len(values(store)) == 30
        ends = log.admin.end_offsets(log.topic, PARTITIONS)
        wait_until(lambda: log.admin.committed(log.group, log.topic, PARTITIONS) == dict(enumerate(ends)))
