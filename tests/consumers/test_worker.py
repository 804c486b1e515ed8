"""The worker on a real Kafka, with a store in memory."""

from __future__ import annotations

import numpy as np
import pytest
from applied_log import consumed, counters, settled, values
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from log_world import PARTITIONS, world
from memory_store import MemoryStore
from vecferry.errors import Refused, Rejected
from vecferry.schemas.batch import EventBatch, Mark

pytestmark = pytest.mark.server


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
