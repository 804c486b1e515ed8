"""The worker on a real Kafka, with a store in memory that can be made to fail."""

from __future__ import annotations

import threading
from itertools import cycle

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from log_world import NAME, PARTITIONS, World, world
from memory_store import MemoryStore
from vecferry.errors import Fatal, Refused, Rejected, Transient, Unavailable
from vecferry.schemas.batch import EventBatch, Mark, Rows, SnapshotMark
from vecferry.schemas.control import SnapshotProgress, WorkerProgress, worker_progress_key
from vecferry.schemas.position import base_position, encode_position
from waiting import wait_until

pytestmark = pytest.mark.server


def settled(log: World, store: MemoryStore) -> bool:
    """Whether the store has applied everything that is in the live topic."""
    ends = log.admin.end_offsets(log.topic, PARTITIONS)
    return all(store.live[partition] >= end for partition, end in enumerate(ends))


def values(store: MemoryStore) -> dict[str, float]:
    return {id_: float(entry.vector[0]) for id_, entry in store.rows.items() if not entry.deleted}


def counters(log: World, instance: str = "one") -> WorkerProgress:
    log.progress.sync()
    record = log.progress.get(worker_progress_key(NAME, "new", instance))
    assert record is not None
    return WorkerProgress.model_validate_json(record)


def consumed(log: World, instance: str) -> int:
    record = log.progress.get(worker_progress_key(NAME, "new", instance))
    return 0 if record is None else sum(WorkerProgress.model_validate_json(record).live.values())


def rows_of(ids: list[str], position: int, value: float) -> Rows:
    n = len(ids)
    return Rows(
        ids=ids,
        positions=np.full(n, position, np.int64),
        deleted=np.zeros(n, np.bool_),
        vectors=np.full((n, 4), value, np.float32),
        metadata=[b"{}"] * n,
    )


def test_every_event_gets_one_outcome_and_is_committed_behind_it(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        for number in range(200):
            log.upsert(f"id-{number % 50}", float(number))
        log.delete("id-7")
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        expected = {f"id-{number % 50}": float(number) for number in range(200)}
        del expected["id-7"]
        assert values(store) == expected
        ends = log.admin.end_offsets(log.topic, PARTITIONS)
        assert log.admin.committed(log.group, log.topic, PARTITIONS) == dict(enumerate(ends))
        assert sum(counters(log).live.values()) == 201


def test_poison_is_dead_lettered_with_its_context_and_touches_no_other_id(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.upsert("good", 1.0)
        log.producer.produce(log.topic, key=b"bad", value=b"\x00\x01\x02junk", headers=[("trace", b"t1")])
        log.producer.produce(log.topic, key=b"nothing", value=None)
        log.upsert("good", 2.0)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert values(store) == {"good": 2.0}
        log.dead_letters.sync()
        letters = {log.dead_letters.headers(key)["vecferry.key"]: key for key in log.dead_letters.items("new/")}
        assert set(letters) == {b"bad", b"nothing"}
        assert log.dead_letters.get(letters[b"bad"]) == b"\x00\x01\x02junk"
        headers = log.dead_letters.headers(letters[b"bad"])
        assert headers["trace"] == b"t1"
        assert headers["vecferry.topic"] == log.topic.encode()
        assert headers["vecferry.reason"]
        assert counters(log).live["dead_lettered"] == 2
        said = [line for line in caplog.messages if "dead letter" in line]
        assert len(said) == 2
        assert any(
            f"things: dead letter, new cannot take {log.topic} [" in line and "id bad: " in line for line in said
        )


def test_events_read_again_change_nothing(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        for number in range(60):
            log.upsert(f"id-{number}", float(number))
        log.delete("id-3")
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        before = values(store)
        log.admin.commit(log.group, log.topic, dict.fromkeys(range(PARTITIONS), 0))
        running = log.start(store, "two")
        running.wait_until(lambda: consumed(log, "two") == 61)
        running.stop()
        assert values(store) == before
        again = counters(log, "two")
        assert again.live["applied"] == 0
        assert again.redelivered == 61


def test_a_group_reset_forwards_skips_nothing(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        ends = log.admin.end_offsets(log.topic, PARTITIONS)
        log.admin.commit(log.group, log.topic, dict(enumerate(ends)))
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert len(values(store)) == 30


class Picky(MemoryStore):
    """Rejects vectors of a given value, as a store refuses a record that violates a constraint."""

    poison = 13.0

    def apply(self, batch: EventBatch, marks: list[Mark]) -> np.ndarray:  # type: ignore[override]
        if (batch.vectors[:, 0] == self.poison).any():
            raise Rejected("13 violates a check constraint")
        return super().apply(batch, marks)


def test_a_record_that_the_store_refuses_is_isolated_and_what_lay_beneath_it_applied(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = Picky(log.collection)
        store.create(complete=False)
        for number in range(40):
            log.upsert(f"id-{number}", 1.0)
        log.upsert("id-5", 2.0)
        log.upsert("id-5", 13.0)  # newest of its id, refused: the one before it must not be lost with it
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert values(store) == {f"id-{number}": 2.0 if number == 5 else 1.0 for number in range(40)}
        log.dead_letters.sync()
        (key,) = log.dead_letters.items("new/")
        assert log.dead_letters.headers(key)["vecferry.reason"] == b"13 violates a check constraint"
        assert counters(log).live["dead_lettered"] == 1


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


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_join_and_leave_leave_no_gap(kafka_bootstrap: str, protocol: str) -> None:
    bounds = {"batch_rows": 20, "commit_interval_ms": 50}
    with world(kafka_bootstrap, worker=bounds, client={"group.protocol": protocol}) as log:
        log.run_record("r1", chunks=10)
        store = log.store()  # shared: what matters is which events reach it
        running = [log.start(store, "m0")]
        for step in range(6):
            for number in range(200):
                log.upsert(f"live-{step}-{number}", float(step))
            log.send_chunk(
                "r1", step, rows_of([f"snap-{step}-{i}" for i in range(50)], base_position(1), 9.0), chunks=6
            )
            log.flush()
            running.append(log.start(store, f"m{step + 1}"))
            if step % 2:
                running.pop(0).stop()
            # Under the consumer protocol this was once seen to take more than 30 s; why is not known.
            wait_until(lambda seen=step: len(values(store)) >= 100 * seen, 90)
        log.close_run("r1", chunks=6)
        wait_until(lambda: settled(log, store) and len(store.complete) == PARTITIONS, 90)
        for one in running:
            one.stop()
        expected = {f"live-{step}-{number}": float(step) for step in range(6) for number in range(200)}
        expected |= {f"snap-{step}-{number}": 9.0 for step in range(6) for number in range(50)}
        assert values(store) == expected


def test_live_wins_over_older_snapshot_rows_and_a_delete_is_not_undone(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.upsert("changed", 5.0)
        log.upsert("gone", 5.0)
        log.delete("gone")
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        log.run_record("r1", chunks=1)
        log.send_chunk("r1", 0, rows_of(["changed", "gone", "untouched"], base_position(1), 1.0), chunks=1)
        log.close_run("r1", chunks=1)
        running.wait_until(lambda: len(store.complete) == PARTITIONS)
        running.stop()
        assert values(store) == {"changed": 5.0, "untouched": 1.0}
        assert counters(log).snapshot["stale"] == 2


def test_a_missing_chunk_never_reads_as_complete(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.run_record("r1", chunks=2)
        log.send_chunk("r1", 1, rows_of(["a", "b", "c", "d"], base_position(1), 1.0), chunks=2)
        log.close_run("r1", chunks=2)
        running = log.start(store)

        def reported() -> bool:
            found = [SnapshotProgress.model_validate_json(v) for v in log.progress.items("snapshot/").values()]
            return len(found) == PARTITIONS and all("chunk 0 is missing" in entry.problem for entry in found)

        wait_until(reported)
        running.stop()
        assert store.complete == set()


def test_a_mover_that_died_in_a_chunk_is_followed_by_a_newer_one(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.run_record("r1", chunks=2)
        ids = [f"id-{number}" for number in range(12)]
        log.send_chunk("r1", 0, rows_of(ids[:6], base_position(1), 1.0), chunks=2)
        # The first mover's chunk 1 was half sent: rows without a marker are rows of an older generation.
        log.send_chunk("r1", 0, rows_of(ids[:6], base_position(1), 1.0), chunks=2, generation=2)
        log.send_chunk("r1", 1, rows_of(ids[6:], encode_position(1, 3), 2.0), chunks=2, generation=2)
        log.close_run("r1", chunks=2, generation=2)
        running = log.start(store)
        running.wait_until(lambda: len(store.complete) == PARTITIONS)
        running.stop()
        assert values(store) == {id_: 1.0 if number < 6 else 2.0 for number, id_ in enumerate(ids)}


def test_a_new_owner_says_what_its_predecessor_could_not(kafka_bootstrap: str) -> None:
    """A worker that dies right after the store took a closing marker leaves a store that is complete in silence."""
    with world(kafka_bootstrap) as log:
        store = log.store()
        log.run_record("r1", chunks=1)
        log.send_chunk("r1", 0, rows_of(["a"], base_position(1), 1.0), chunks=1)
        log.close_run("r1", chunks=1)
        closed = [
            SnapshotMark(run="r1", partition=partition, next_offset=9, next_chunk=1, closed=True)
            for partition in range(PARTITIONS)
        ]
        store.apply(_empty_batch(), closed)
        running = log.start(store)

        def said() -> bool:
            found = [SnapshotProgress.model_validate_json(v) for v in log.progress.items("snapshot/").values()]
            return len(found) == PARTITIONS and all(entry.closed for entry in found)

        running.wait_until(said)
        running.stop()


def _empty_batch() -> EventBatch:
    return EventBatch(
        ids=[],
        ops=np.empty(0, np.int8),
        partitions=np.empty(0, np.int32),
        positions=np.empty(0, np.int64),
        vectors=np.empty((0, 4), np.float32),
        metadata=[],
    )


def test_retention_that_overtook_the_store_stops_the_worker(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        client = AdminClient({"bootstrap.servers": kafka_bootstrap})
        cut = [TopicPartition(log.topic, partition, 5) for partition in range(PARTITIONS)]
        for future in client.delete_records(cut).values():
            future.result()
        running = log.start(store)
        with pytest.raises(Refused, match="retention was shorter"):
            running.join()
        assert values(store) == {}


def test_a_group_or_a_store_that_was_never_prepared_is_refused_with_the_remedy(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap, commit=False) as log:
        running = log.start(log.store())
        with pytest.raises(Refused, match="no first offset"):
            running.join()
        running = log.start(MemoryStore(log.collection))
        with pytest.raises(Refused, match="vecferry enrol"):
            running.join()
