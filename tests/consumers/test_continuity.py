"""A client that loses a message, goes back or passes over control records: what a worker takes in all the same."""

from __future__ import annotations

from typing import Any

import pytest
from applied_log import counters, rows_of, settled, values
from confluent_kafka import Consumer, KafkaError, Producer
from log_world import PARTITIONS, World, world
from messages import Message
from vecferry.consumers.continuity import sort_out
from vecferry.consumers.partition import Partition
from vecferry.log.kafka.clients import producer_config
from vecferry.log.port import Place
from vecferry.schemas.position import base_position

LIVE, BLOCKS = "shop.products.events", "shop.products.snapshot.r1"
END = KafkaError(KafkaError._PARTITION_EOF)


def live(*offsets: int, end: int | None = None) -> list[Message]:
    """Messages of live partition 0, and its end if ``end`` is given."""
    messages = [Message(LIVE, 0, offset, b"") for offset in offsets]
    return messages if end is None else [*messages, Message(LIVE, 0, end, None, END)]


def take(partition: Partition, messages: list[Message]) -> tuple[list[int], dict[str, int], int | None]:
    """Offsets taken in, end reached, and from where to read again; the partition is moved on as a turn does it."""
    found = sort_out(messages, {(LIVE, 0): partition}, LIVE)
    partition.next_offset = max(
        [partition.next_offset, *[offset + 1 for offset in found.offsets], *found.ends.values()]
    )
    return found.offsets, {topic: end for (topic, _), end in found.ends.items()}, found.passed_over.get((LIVE, 0))


def test_nothing_behind_a_gap_is_taken_in_and_it_is_read_again_from_its_start() -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, 4, 6, 7, end=8)) == ([3, 4], {}, 5)
    assert take(partition, live(5, 6, 7, end=8)) == ([5, 6, 7], {LIVE: 8}, None)
    assert not partition.has_gaps


def test_a_lost_message_before_the_end_is_missed_too() -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, end=5)) == ([3], {}, 4)
    assert take(partition, live(4, end=5)) == ([4], {LIVE: 5}, None)


def test_a_gap_that_is_there_again_is_the_logs_own_and_later_ones_are_believed() -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, 5)) == ([3], {}, 4)
    assert take(partition, live(5, 6, 8, end=10)) == ([5, 6, 8], {LIVE: 10}, None)


@pytest.mark.parametrize(("ends", "taken"), [((5, 5), {LIVE: 5}), ((5, 6), {LIVE: 6})])
def test_control_records_at_the_end_are_passed_over(ends: tuple[int, int], taken: dict[str, int]) -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, end=ends[0])) == ([3], {}, 4)
    assert take(partition, live(end=ends[1])) == ([], taken, None)


@pytest.mark.parametrize("second", [6, 8])
def test_a_gap_that_changes_is_not_believed_yet(second: int) -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, 7)) == ([3], {}, 4)
    assert take(partition, live(second)) == ([], {}, 4)
    assert take(partition, live(second)) == ([second], {}, None)


def test_what_was_taken_in_before_is_not_taken_again() -> None:
    partition = Partition(place=(LIVE, 0), next_offset=3, handled_below=0)
    assert take(partition, live(3, 4, 3, 4, 5)) == ([3, 4, 5], {}, None)
    assert take(partition, live(4, 5, end=4)) == ([], {}, None)


def test_a_gap_of_one_partition_holds_no_other_up() -> None:
    messages = [Message(topic, 0, offset, b"") for offset in (0, 2) for topic in (LIVE, BLOCKS)]
    messages.insert(2, Message(BLOCKS, 0, 1, b""))
    owned = {place: Partition(place=place, next_offset=0, handled_below=0) for place in ((LIVE, 0), (BLOCKS, 0))}
    found = sort_out(messages, owned, LIVE)
    assert found.offsets == [0]
    assert [message.offset() for message in found.snapshot] == [0, 1, 2]
    assert found.passed_over == {(LIVE, 0): 1}


class Losing(Consumer):
    """Hands over everything but some messages, each of which it loses once, when all before it was handed over."""

    to_lose: dict[Place, list[int]]
    handed: dict[Place, int]  # the first offset that was not, in order

    def _left(self, messages: list[Any]) -> list[Any]:
        left = []
        for message in messages:
            place, offset = (message.topic(), message.partition()), message.offset()
            if message.error() is None:
                in_order = offset == self.handed.get(place, 0)
                if in_order and offset in self.to_lose.get(place, []):
                    self.to_lose[place].remove(offset)
                    continue
                self.handed[place] = self.handed.get(place, 0) + in_order
            left.append(message)
        return left

    def poll(self, timeout: float = -1) -> Any:
        message = super().poll(timeout)
        return None if message is None else next(iter(self._left([message])), None)

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Any]:
        return self._left(super().consume(num_messages, timeout))


class Stammering(Consumer):
    """Hands over everything twice."""

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Any]:
        return super().consume(num_messages, timeout) * 2


def fill(log: World) -> str:
    """60 live events and a run of two chunks; returns the topic of the run."""
    for number in range(60):
        log.upsert(f"id-{number}", 1.0)
    log.run_record("r1", chunks=2)
    for chunk in range(2):
        log.send_chunk("r1", chunk, rows_of([f"{chunk}-{i}" for i in range(30)], base_position(1), 9.0), chunks=2)
    log.close_run("r1", chunks=2)
    return f"{log.topic.removesuffix('.events')}.snapshot.r1"


def applied(log: World) -> None:
    """Run a worker until its store holds what ``fill`` wrote, once."""
    store = log.store()
    running = log.start(store)
    running.wait_until(lambda: settled(log, store) and len(store.complete) == PARTITIONS)
    running.stop()
    expected = {f"id-{number}": 1.0 for number in range(60)}
    assert values(store) == expected | {f"{chunk}-{i}": 9.0 for chunk in range(2) for i in range(30)}
    assert sum(counters(log).live.values()) == sum(counters(log).snapshot.values()) == 60


@pytest.mark.server
def test_what_the_client_loses_is_read_again(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with world(kafka_bootstrap) as log:
        snapshot = fill(log)
        ends = log.admin.end_offsets(log.topic, PARTITIONS)
        lost = {(log.topic, partition): [0, 2, end - 1] for partition, end in enumerate(ends)}
        lost |= {(snapshot, partition): [0, 3] for partition in range(PARTITIONS)}
        monkeypatch.setattr(Losing, "to_lose", lost, raising=False)
        monkeypatch.setattr(Losing, "handed", {}, raising=False)
        monkeypatch.setattr("vecferry.log.kafka.consumer.Consumer", Losing)
        applied(log)
        assert not any(lost.values())
        assert f"things: {log.topic} [0]: the client passed over offset 2; reading from there again" in caplog.text


@pytest.mark.server
def test_what_the_client_hands_over_twice_counts_once(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(kafka_bootstrap) as log:
        fill(log)
        monkeypatch.setattr("vecferry.log.kafka.consumer.Consumer", Stammering)
        applied(log)


@pytest.mark.server
def test_control_records_of_transactions_are_read_again_once(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    with world(kafka_bootstrap) as log:
        settings = {"transactional.id": log.namespace, "delivery.timeout.ms": 30_000}
        log.producer = Producer({**producer_config(log.config.kafka), **settings})
        log.producer.init_transactions()
        for number in range(40):
            log.producer.begin_transaction()
            log.upsert(f"id-{number}", 1.0)
            log.flush()  # an abort would purge what is still to be sent, and leave nothing to pass over
            if number % 4:
                log.producer.commit_transaction()
            else:
                log.producer.abort_transaction()
        store = log.store()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        assert values(store) == {f"id-{number}": 1.0 for number in range(40) if number % 4}
        assert caplog.text.count("passed over offset") <= 2 * PARTITIONS
