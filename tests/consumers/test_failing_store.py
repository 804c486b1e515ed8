"""The worker on a real Kafka, with a store that fails, is slow, or goes away."""

from __future__ import annotations

import threading
from itertools import cycle

import pytest
from applied_log import rows_of, settled, values
from log_world import NAME, PARTITIONS, world
from vecferry.errors import Fatal, Refused, Transient, Unavailable
from vecferry.journal.progress import WorkerProgress, worker_progress_key
from vecferry.schemas.position import base_position
from waiting import wait_until

pytestmark = pytest.mark.server


def test_a_store_that_fails_for_a_while_loses_nothing_and_buries_nothing(kafka_bootstrap: str) -> None:
    failures, kinds = iter([True] * 4), cycle([True, False])

    def flaky(method: str) -> None:
        if method == "apply" and next(failures, False):
            raise Unavailable("nobody listens at 127.0.0.1:1") if next(kinds) else Transient("connection reset")

    with world(kafka_bootstrap) as log:
        store = log.store(before=flaky)
        for number in range(20):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert len(values(store)) == 20
        log.dead_letters.sync()
        assert not log.dead_letters.items("")


def test_nothing_passes_a_batch_that_failed(kafka_bootstrap: str) -> None:
    """An unknown failure stops the worker, and no mark or commit of a later batch may stand for the failed one."""
    calls = iter(range(1_000))

    def broken(method: str) -> None:
        if method == "apply" and next(calls) == 1:
            raise Fatal("disk on fire")

    with world(kafka_bootstrap, worker={"batch_rows": 5}) as log:
        store = log.store(before=broken)
        for number in range(100):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running = log.start(store)
        with pytest.raises(Fatal, match="disk on fire"):
            running.join()
        committed = log.admin.committed(log.group, log.topic, PARTITIONS)
        assert sum(store.live.values()) == len(values(store)) < 100
        assert all(committed[partition] <= store.live[partition] for partition in range(PARTITIONS))
        running = log.start(store, "two")
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert len(values(store)) == 100


def test_a_table_that_takes_no_events_ends_the_worker_and_buries_none(kafka_bootstrap: str) -> None:
    """Twenty thousand dead letters would be twenty thousand to redrive; an undo is one statement."""
    altered = True

    def fault(method: str) -> None:
        if method == "apply" and altered:
            raise Refused("table things takes no events: the metadata column price does not exist")

    with world(kafka_bootstrap) as log:
        store = log.store(before=fault)
        for number in range(100):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        for instance in ("one", "two"):  # a service manager starts it again
            running = log.start(store, instance)
            with pytest.raises(Refused, match="price does not exist"):
                running.join()
        altered = False
        running = log.start(store, "three")
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert len(values(store)) == 100
        log.dead_letters.sync()
        assert not log.dead_letters.items("")


def test_a_slow_store_keeps_its_membership(kafka_bootstrap: str) -> None:
    release = threading.Event()

    def slow(method: str) -> None:
        if method == "apply":
            release.wait(60)

    with world(kafka_bootstrap, client={"max.poll.interval.ms": 6000}) as log:
        store = log.store(before=slow)
        log.upsert("id", 1.0)
        log.flush()
        running = log.start(store)
        beats: set[float] = set()

        def nine_beats() -> bool:
            record = log.progress.get(worker_progress_key(NAME, "new", "one"))
            if record is not None:
                beats.add(WorkerProgress.model_validate_json(record).beat_unix_s)
            return len(beats) >= 9

        wait_until(nine_beats, 60)  # one a second: longer than the poll interval allows without polling
        release.set()
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert values(store) == {"id": 1.0}


def test_a_store_that_is_made_anew_under_an_idle_worker_misses_nothing(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        store.rows, store.live = {}, dict.fromkeys(range(PARTITIONS), 0)
        log.upsert("id-30", 1.0)
        log.flush()
        with pytest.raises(Fatal, match=r"up to offset 0, after it had acknowledged .*: start the worker again"):
            running.join()
        assert store.live == dict.fromkeys(range(PARTITIONS), 0)
        running = log.start(store, "two")
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert len(values(store)) == 31


def test_a_run_is_not_closed_in_a_store_that_was_made_anew_between_its_chunks(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.run_record("r1", chunks=2)
        rows = rows_of([f"id-{number}" for number in range(30)], base_position(1), 1.0)
        log.send_chunk("r1", 0, rows, chunks=2)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: len(store.snapshots) == PARTITIONS)
        store.rows, store.snapshots = {}, {}
        log.send_chunk("r1", 1, rows_of([], base_position(1), 1.0), chunks=2)
        log.close_run("r1", chunks=2)
        with pytest.raises(Fatal, match="of run r1 up to offset 0, after it had acknowledged"):
            running.join()
        assert (store.complete, store.snapshots) == (set(), {})
