"""The compiled sender: what it hands to the client's library, and what it leaves to Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaException
from direct_world import COLLECTION, VECTOR, World
from fake_librdkafka import QUEUE_FULL, UNKNOWN_TOPIC, FakeLibrary, Taken
from vecferry.producers import sending
from vecferry.producers.delivery import BatchDelivery, Delivery
from vecferry.producers.outstanding import Book
from vecferry.producers.records import PlainEncoder, plain_encoder
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.position import encode_position

pytestmark = pytest.mark.skipif(PlainEncoder is None, reason="nothing was compiled here")


@pytest.fixture
def world() -> World:
    return World()


def test_a_plain_row_is_sent_as_the_encoder_writes_it(world: World) -> None:
    delivery = world.upsert("é")
    expected = EventEncoder(COLLECTION).upsert("é".encode(), VECTOR, b"{}", event_id=bytes(16), occurred_at_ms=0)
    assert world.library.taken == [Taken("é".encode(), expected)]
    assert isinstance(delivery, Delivery)
    assert not delivery.done()
    world.library.report(world.library.taken[0], partition=2, offset=7)
    assert not delivery.done()  # whoever polls the client tells it
    world.tell()
    assert delivery.result(0).positions == {2: encode_position(1, 7)}


def test_what_is_not_plain_is_left_to_python(world: World) -> None:
    assert world.sender.upsert("a", [1.0, 1.0], None, 0.0) is None
    assert world.library.taken == []
    assert world.sender.waiting() == []


def test_a_row_that_the_client_does_not_take_is_left_to_python_too(world: World) -> None:
    world.library.refusal = QUEUE_FULL
    assert world.upsert() is None
    assert world.sender.waiting() == []


def test_rows_of_a_batch_are_sent_as_the_encoder_writes_them(world: World) -> None:
    vectors, now_s = np.arange(8, dtype=np.float32).reshape(4, 2), 3.0
    rows = [b"a", "é".encode(), b"c", b"d"], vectors, [b"{}", b'{"a":1}', b"{}", b"{}"], now_s
    twin = plain_encoder(COLLECTION, None, bytes(8))
    assert twin is not None
    expected = [Taken(*record) for record in twin.records(*rows, 1, 4)]
    batch = BatchDelivery(world.book, "a")
    assert world.sender.send_rows(batch, *rows, 1, 4) == 3
    assert world.library.taken == expected
    batch.seal()
    for offset, record in enumerate(expected):
        world.library.report(record, partition=1, offset=offset)
    world.tell()
    assert batch.result(0).positions == {1: encode_position(1, 2)}
    assert world.sender.send_rows(batch, *rows, 2, 2) == 0


def test_rows_behind_one_that_the_client_does_not_take_are_left_to_python(world: World) -> None:
    rows = [b"a"] * 5, np.ones((5, 2), np.float32), [b"{}"] * 5, 0.0
    batch = BatchDelivery(world.book, "a")
    world.library.room = 3
    assert world.sender.send_rows(batch, *rows, 0, 5) == 3
    assert world.sender.send_rows(batch, *rows, 3, 5) == 0
    assert len(world.library.taken) == 3
    batch.seal()
    for record in list(world.library.taken):
        world.library.report(record, offset=0)
    world.tell()
    assert batch.done()
    assert world.sender.waiting() == []
    world.sender.close()
    assert world.sender.send_rows(batch, *rows, 3, 5) == 0


def test_what_are_no_rows_is_refused(world: World) -> None:
    rows = [b"a"], VECTOR[None], [b"{}"], 0.0
    with pytest.raises(TypeError):
        world.sender.send_rows(Delivery(world.book, "a"), *rows, 0, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rows 0 to 2"):
        world.sender.send_rows(BatchDelivery(world.book, "a"), *rows, 0, 2)
    assert world.library.taken == []


@pytest.mark.parametrize("reported", [False, True])
def test_a_refusal_is_raised_and_nothing_is_pending(world: World, reported: bool) -> None:
    world.library.reports_refusals = reported
    batch = BatchDelivery(world.book, "a")
    world.send(batch)
    world.library.refusal = QUEUE_FULL
    with pytest.raises(BufferError):
        world.send(batch)
    world.library.refusal = UNKNOWN_TOPIC
    with pytest.raises(KafkaException, match="_UNKNOWN_TOPIC"):
        world.send(batch)
    with pytest.raises(KafkaException):
        world.delivered()
    assert world.sender.waiting() == [batch]
    batch.seal()
    world.tell()
    assert not batch.done()  # what was refused at once is no result of the record that was taken
    world.library.report(world.library.taken[0], offset=0)
    world.tell()
    assert batch.result(0).positions == {0: encode_position(1, 0)}


def test_a_closed_sender_refuses(world: World) -> None:
    world.sender.close()
    world.sender.close()
    assert (world.library.topics, world.library.open_topics) == (["t"], 0)
    assert world.upsert() is None
    with pytest.raises(KafkaException, match="_DESTROY"):
        world.delivered()


def test_a_client_that_takes_no_plug_in_is_used_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(sending, "functions_of_the_client", lambda: library.functions)
    monkeypatch.setattr(sending, "Producer", lambda config: library)
    book = Book("t", epoch=1, partitions=1, on_outgrown=lambda problem: None)
    assert type(sending.make_sender({}, "t", book, 0, None)) is sending.CallbackSender


def test_a_plug_in_of_the_application_is_loaded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    library, configs = FakeLibrary(), []
    monkeypatch.setattr(sending, "functions_of_the_client", lambda: library.functions)
    monkeypatch.setattr(sending, "Producer", lambda config: (configs.append(config), library.load())[1])
    book = Book("t", epoch=1, partitions=1, on_outgrown=lambda problem: None)
    sending.make_sender({"plugin.library.paths": "/theirs"}, "t", book, 0, None)
    assert configs[0]["plugin.library.paths"].startswith("/theirs;/")


@pytest.mark.parametrize("arguments", [(), (b"a", b"short", None), (b"a", bytes(200), None), ("a", b"", None)])
def test_what_is_no_record_is_refused(world: World, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        world.sender.send(*arguments)
    with pytest.raises(TypeError):
        world.sender.upsert()  # type: ignore[call-arg]
