"""The compiled sender: what the threads of the client's library say of its records, and who is told."""

from __future__ import annotations

import random
import sys
import threading

import pytest
from confluent_kafka import KafkaError
from direct_world import PARTITIONS, World
from fake_librdkafka import Taken
from hypothesis import given, settings
from hypothesis import strategies as st
from vecferry.errors import NotDelivered
from vecferry.producers import sending
from vecferry.producers.delivery import BatchDelivery, Delivery
from vecferry.producers.outstanding import Outstanding
from vecferry.producers.records import PlainEncoder
from vecferry.schemas.position import encode_position

pytestmark = pytest.mark.skipif(PlainEncoder is None, reason="nothing was compiled here")


@pytest.fixture
def world() -> World:
    return World()


def test_a_failure_carries_the_brokers_words(world: World) -> None:
    delivery = world.delivered()
    text = "Timestamp 5 of message with offset 0 is out of range"
    world.library.report(world.library.taken[0], error=KafkaError.INVALID_TIMESTAMP, text=text.encode())
    world.tell()
    with pytest.raises(NotDelivered, match=rf"'a': INVALID_TIMESTAMP \({text}\)"):
        delivery.result(0)
    batch = BatchDelivery(world.book, "b")
    world.send(batch, "b")
    batch.seal()
    world.library.report(world.library.taken[0], error=KafkaError._MSG_TIMED_OUT)
    world.tell()
    with pytest.raises(NotDelivered, match=r"'b': _MSG_TIMED_OUT \(.*timed out\)"):
        batch.result(0)


def test_offsets_that_librdkafka_made_up_are_none(world: World) -> None:
    offsets = [(0, 5), (1, 1), (0, -1), (1, 2), (0, 0), (0, 1), (0, 9), (0, 2), (1, 0)]
    deliveries = [world.delivered() for _ in offsets]
    for record, (partition, offset) in zip(list(world.library.taken), offsets, strict=True):
        world.library.report(record, partition=partition, offset=offset)
    world.tell()
    for delivery, (partition, offset), made_up in zip(deliveries, offsets, [0, 0, 1, 0, 1, 1, 0, 1, 0], strict=True):
        if made_up:
            with pytest.raises(NotDelivered, match="without an offset"):
                delivery.result(0)
        else:
            assert delivery.result(0).positions == {partition: encode_position(1, offset)}


def test_a_batch_keeps_the_highest_offsets_in_whatever_order_they_come(world: World) -> None:
    batch = BatchDelivery(world.book, "a")
    for _ in range(3):
        world.send(batch)
    batch.seal()
    for record, offset in zip(list(world.library.taken), (8, 9, 7), strict=True):
        world.library.report(record, offset=offset)
    world.tell()
    assert batch.result(0).positions == {0: encode_position(1, 9)}


def test_a_partition_that_was_added_stops_the_publisher(world: World) -> None:
    delivery = world.delivered()
    world.library.report(world.library.taken[0], partition=PARTITIONS, offset=0)
    world.tell()
    with pytest.raises(NotDelivered, match="partitions were added"):
        delivery.result(0)
    assert len(world.outgrown) == 1


def test_a_waiter_that_breaks_keeps_nothing_from_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(sending._log, "exception", lambda *_: said.append(sys.exc_info()[0]))
    deliveries = [world.delivered() for _ in range(3)]
    deliveries[1]._add_waiter(lambda: 1 // 0)
    for offset, record in enumerate(list(world.library.taken)):
        world.library.report(record, offset=offset)
    world.tell()
    assert [delivery.done() for delivery in deliveries] == [True] * 3
    assert said == [ZeroDivisionError]
    assert world.sender.waiting() == []


def test_what_python_has_to_be_told_is_pending_until_then(world: World) -> None:
    """So that a flush waits for it, and an exception on the way loses nothing."""
    failed, woken, batch = world.delivered(), world.delivered(), BatchDelivery(world.book, "a")
    world.send(batch)
    world.send(batch)
    batch.seal()
    said: list[str] = []
    woken._add_waiter(lambda: said.append("woken"))
    of_failed, of_woken, *of_batch = world.library.taken
    world.library.report(of_failed, error=KafkaError._MSG_TIMED_OUT)
    world.library.report(of_batch[0], error=KafkaError._MSG_TIMED_OUT)
    world.library.report(of_woken, offset=1)
    world.library.report(of_batch[1], offset=2)
    world.sender.drain()
    assert world.sender.waiting() == [failed, woken, batch]
    assert [failed.done(), woken.done(), batch.done(), said] == [False, True, False, []]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Delivery, "report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            world.sender.tell()
    assert world.sender.waiting() == [failed, woken, batch]
    world.sender.tell()
    assert world.sender.waiting() == []
    assert said == ["woken"]
    for delivery, problem in ((failed, "'a': _MSG_TIMED_OUT"), (batch, "1 of the batch of 2.*_MSG_TIMED_OUT")):
        with pytest.raises(NotDelivered, match=problem):
            delivery.result(0)


def test_a_batch_that_is_given_up_while_it_is_sent_has_failed(world: World) -> None:
    batch = BatchDelivery(world.book, "a")
    world.send(batch)
    world.send(batch)
    world.library.report(world.library.taken[0], offset=0)
    world.tell()
    batch.abandon(KafkaError(KafkaError._DESTROY, "the publisher was closed"))
    batch.seal()
    with pytest.raises(NotDelivered, match="_DESTROY"):
        batch.result(0)


def test_thousands_that_fail_at_once_are_all_told(world: World) -> None:
    deliveries = [world.delivered() for _ in range(3_000)]
    for record in list(world.library.taken):
        world.library.report(record, error=KafkaError._MSG_TIMED_OUT)
    world.tell()
    assert all(delivery.done() for delivery in deliveries)
    assert len(world.book.take_failures()) == 3_000
    assert world.sender.waiting() == []
    after = world.delivered()
    world.library.report(world.library.taken[0], error=KafkaError._MSG_TIMED_OUT)
    world.tell()
    assert after.done()


def test_a_batch_that_failed_is_complete_with_its_last_success(world: World) -> None:
    batch = BatchDelivery(world.book, "a")
    world.send(batch)
    world.send(batch)
    batch.seal()
    first, last = world.library.taken
    world.library.report(first, error=KafkaError._MSG_TIMED_OUT)
    world.tell()
    world.library.report(last, offset=0)
    world.sender.drain()
    assert (batch.done(), world.sender.waiting()) == (False, [batch])  # Python has to note the failure first
    world.sender.tell()
    assert (batch.done(), world.sender.waiting(), len(world.book.take_failures())) == (True, [], 1)


def test_what_can_no_longer_be_known_is_given_up(world: World) -> None:
    batch = BatchDelivery(world.book, "a")
    alone = world.delivered()
    world.send(batch)
    world.send(batch)
    batch.seal()
    world.library.report(world.library.taken[1], offset=1)
    world.tell()
    for delivery in world.sender.waiting():
        delivery.abandon(KafkaError(KafkaError._DESTROY, "the publisher was closed"))
    with pytest.raises(NotDelivered, match="'a': _DESTROY"):
        alone.result(0)
    with pytest.raises(NotDelivered, match=r"1 of the batch of 2 .*_DESTROY \(the publisher was closed"):
        batch.result(0)


def test_reports_outlive_the_client_and_the_sender() -> None:
    world = World()
    delivery = world.delivered()
    world.library.report(world.library.taken[0], offset=0)
    world.library.destroy()
    world.tell()
    assert delivery.done()
    world = World()
    world.delivered()
    world.sender.close()
    library = world.library
    del world.sender
    library.report(library.taken[0], error=KafkaError._PURGE_QUEUE)  # a thread of the client that is late
    library.destroy()


def test_reports_of_many_threads_all_arrive(world: World) -> None:
    deliveries = [world.delivered() for _ in range(4_000)]
    taken = list(world.library.taken)

    def report(partition: int) -> None:
        for offset, record in enumerate(taken[partition::PARTITIONS]):
            world.library.report(record, partition=partition, offset=offset)

    threads = [threading.Thread(target=report, args=(partition,)) for partition in range(PARTITIONS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        world.tell()
    world.tell()
    for number, delivery in enumerate(deliveries):
        at = encode_position(1, number // PARTITIONS)
        assert delivery.result(0).positions == {number % PARTITIONS: at}


@given(st.integers(0, 2**32), st.sampled_from([10, 1_000, 4_000]))
@settings(max_examples=30, deadline=None)
def test_every_record_finds_its_delivery(seed: int, steps: int) -> None:
    """Against a dict: thousands of records of both encoders on their way, answered in any order."""
    world, chance = World(), random.Random(seed)
    pending: dict[Taken, Delivery | BatchDelivery] = {}
    batch, sent, answered, offset = BatchDelivery(world.book, "a"), 0, 0, 0
    for step in range(steps):
        if chance.random() < (0.8 if step < steps // 2 else 0.2):
            kind = chance.choice(["plain", "other", "batch"])
            delivery: Delivery | BatchDelivery | None = batch if kind == "batch" else None
            if kind == "plain":
                delivery = world.upsert()
            else:
                delivery = delivery or Delivery(world.book, "a")
                world.send(delivery)
                sent += kind == "batch"
            assert delivery is not None
            pending[world.library.taken.pop()] = delivery
        elif pending:
            record = chance.choice(list(pending)) if len(pending) < 50 else next(iter(pending))
            delivery = pending.pop(record)
            world.library.report(record, offset=offset)
            world.tell()
            if delivery is batch:
                answered += 1
                assert batch._acknowledged == answered
            else:
                assert delivery.result(0).positions == {0: encode_position(1, offset)}
            offset += 1
    assert batch.taken == sent
    batch.seal()
    assert batch.done() == (sent == answered)
    assert sorted(map(id, world.sender.waiting())) == sorted({id(delivery) for delivery in pending.values()})


def test_what_waits_is_told_in_the_order_of_publication(world: World) -> None:
    first = [world.upsert() for _ in range(200)]
    batch = BatchDelivery(world.book, "a")
    world.send(batch)
    world.send(batch)
    expected: list[Outstanding | None] = [*first, batch]
    assert world.sender.waiting() == expected


def test_a_flush_waits_for_the_last_before_it_that_has_no_result(world: World) -> None:
    first, second = world.upsert(), world.delivered()  # their counters are of two ranges
    mark = world.sender.mark()
    assert world.sender.last(0) is None
    of_first, of_second = world.library.taken
    later = world.upsert()
    assert world.sender.last(mark) is second
    assert world.sender.waiting(mark) == [first, second]
    assert world.sender.last(world.sender.mark()) is later
    second._add_waiter(lambda: None)
    world.library.report(of_second, offset=1)
    world.sender.drain()
    assert second in world.sender.waiting()  # it is to be told, but its result is known
    assert world.sender.last(mark) is first
    world.library.report(of_first, offset=0)
    world.tell()
    assert world.sender.last(mark) is None
    assert world.sender.waiting() == [later]


def test_the_last_of_thousands_is_found(world: World) -> None:
    waiting = [world.upsert() for _ in range(10_000)]
    mark = world.sender.mark()
    for delivery, record in reversed(list(zip(waiting, list(world.library.taken), strict=True))):
        assert world.sender.last(mark) is delivery
        world.library.report(record, offset=0)
        world.sender.drain()
    assert world.sender.last(mark) is None
    later = world.upsert()  # in a table that was let go
    assert later is not None
    assert world.sender.last(world.sender.mark()) is later
    world.library.report(world.library.taken[0], offset=1)
    world.tell()
    assert later.done()
