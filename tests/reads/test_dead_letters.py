"""A read that waits for a write which its store can never hold raises, instead of showing an older row or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from reads_fakes import COLLECTION, TOPIC, World, version_of
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import DeadLettered, Inconclusive
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.log.memory import Broker, MemoryLog
from vecferry.reads.async_reader import AsyncReader
from vecferry.reads.reader import Reader
from vecferry.reads.session import Session
from vecferry.schemas.dead_letters import Origin
from vecferry.schemas.position import next_offset, offset_of
from vecferry.schemas.tokens import Run, WriteToken

DLQ = "shop.products.dlq"
QUERY = np.array([1.0, 0.0], np.float32)


class Shop(World):
    """A world whose stores may refuse a write, with a dead-letter topic in memory."""

    def __init__(self) -> None:
        super().__init__()
        broker = Broker()
        self.kafka = MemoryLog(broker, SYSTEM_CLOCK)
        self.kafka.admin.create_topic(DLQ, 1, {})
        self.letters = self.kafka.table(DLQ)
        self.clean_from: dict[str, int] = {}

    def refuse(self, store: str, token: WriteToken, id_: str = "a", *, position: int | None = None) -> str:
        """``store`` refuses the write of ``token``: it passes the event, and a letter says why. Returns its key."""
        offset = offset_of(token.position)
        origin = Origin(store=store, topic=TOPIC, partition=token.partition, offset=offset)
        headers = [
            ("vecferry.key", id_.encode()),
            ("vecferry.reason", b"no such day"),
            ("vecferry.position", str(token.position if position is None else position).encode()),
        ]
        self.kafka.sender().send(DLQ, 0, b"whole", key=origin.key().encode(), headers=headers)
        with self.lock:
            self.log[token.partition][offset] = ("nobody", 0)
        self.clean_from[store] = next_offset(offset)
        self.apply(store)
        return origin.key()

    def resolve(self, key: str) -> None:
        self.kafka.sender().send(DLQ, 0, None, key=key.encode())

    def report(self, name: str) -> None:
        if not self.publishes_progress:
            return
        for partition, offset in self.stores[name].applied().live.items():
            clean_from = self.clean_from.get(name, 0)
            record = LiveProgress(next_offset=offset, complete=True, beat_unix_s=0.0, clean_from=clean_from)
            self.progress.put(live_progress_key(COLLECTION.name, name, partition), record.encode())


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    shop.write("a", 1)
    shop.apply("old")
    shop.apply("new")
    yield shop
    shop.pool.close()


def refused(shop: Shop, store: str = "old") -> WriteToken:
    token = shop.write("a", 2)
    shop.refuse(store, token)
    return token


def error_of(reader: Reader, **arguments: object) -> DeadLettered:
    with pytest.raises(DeadLettered) as raised:
        reader.get(["a"], **arguments)  # type: ignore[arg-type]
    with pytest.raises(DeadLettered):
        reader.search(QUERY, 3, **arguments)  # type: ignore[arg-type]
    return raised.value


def test_a_token_of_a_dead_letter_raises_and_says_what_to_publish(shop: Shop) -> None:
    token, reader = refused(shop), shop.reader()
    error = error_of(reader, after=token)
    assert (error.id, error.store, error.position, error.reason) == ("a", "old", token.position, "no such day")
    assert error.letter == f"old/{TOPIC}/0/1/0"
    assert "publish the right state of 'a'" in str(error)
    error_of(reader, after=WriteToken.parse(str(token)))
    assert version_of(reader, "a") == 1  # whoever does not wait for the write reads on


def test_a_token_of_a_dead_letter_raises_from_coroutines_too(shop: Shop) -> None:
    token = refused(shop)

    async def read() -> None:
        async with AsyncReader(shop.reader(), clock=SYSTEM_CLOCK) as reader:
            with pytest.raises(DeadLettered):
                await reader.get(["a"], after=token)
            with pytest.raises(DeadLettered):
                await reader.search(QUERY, 3, after=token)

    asyncio.run(read())


def test_a_session_that_wrote_a_dead_letter_raises_after_it_wrote_more_and_travelled(shop: Shop) -> None:
    session = Session()
    session.observe(refused(shop))
    session.observe(shop.write("b", 1))
    shop.apply("old")
    error_of(shop.reader(), session=session)
    error_of(shop.reader(), session=Session.parse(str(session)))
    error_of(shop.reader(), after=session)


def test_a_batch_of_which_one_row_is_a_dead_letter_raises(shop: Shop) -> None:
    first = refused(shop)
    last = shop.write("b", 1)
    shop.apply("old")
    run = Run(first.partition, first.position, last.position)
    batch = WriteToken(TOPIC, last.positions, (run,))
    error_of(shop.reader(), after=batch)
    session = Session()
    session.observe(batch)
    error_of(shop.reader(), session=Session.parse(str(session)))


def test_a_dead_letter_of_somebody_else_concerns_nobody(shop: Shop) -> None:
    before = shop.write("b", 1)
    refused(shop)
    after = shop.write("c", 1)
    shop.apply("old")
    reader = shop.reader()
    assert version_of(reader, "b", after=before) == 1
    assert version_of(reader, "c", after=after) == 1


def test_a_dead_letter_of_one_store_concerns_only_reads_of_that_store(shop: Shop) -> None:
    token = refused(shop, "new")
    shop.log[0][offset_of(token.position)] = ("a", 2)
    shop.apply("old")
    assert version_of(shop.reader(), "a", after=token) == 2
    shop.route(100)
    error_of(shop.reader(), after=token)


def test_a_newer_state_of_the_id_ends_it(shop: Shop) -> None:
    token = refused(shop)
    shop.write("a", 3)
    shop.apply("old")
    assert version_of(shop.reader(), "a", after=token) == 3


def test_a_resolved_letter_ends_it(shop: Shop) -> None:
    token, reader = shop.write("a", 2), shop.reader()
    key = shop.refuse("old", token)
    error_of(reader, after=token)
    shop.resolve(key)
    assert version_of(reader, "a", after=token) == 1


def test_a_letter_of_an_earlier_epoch_at_the_same_offset_is_another_write(shop: Shop) -> None:
    token = shop.write("a", 2)
    shop.refuse("old", token, position=offset_of(token.position))
    assert version_of(shop.reader(), "a", after=token) == 1


def test_reads_do_not_ask_for_letters_while_there_are_none_to_find(shop: Shop) -> None:
    class Unread:
        ended = False

        def sync(self, timeout_s: float = 0.0) -> None:
            raise AssertionError("the dead-letter topic was read")

    shop.letters = Unread()  # type: ignore[assignment]
    for token in (refused_elsewhere := [shop.write("b", 1), shop.write("b", 2)]):
        shop.apply("old")
        assert version_of(shop.reader(), "b", after=token) >= 1
    assert len(refused_elsewhere) == 2


@pytest.mark.parametrize("known", [False, True])
def test_a_worker_that_says_nothing_of_letters_is_not_believed(shop: Shop, known: bool) -> None:
    token = refused(shop)
    shop.publishes_progress = known
    World.report(shop, "old")  # as an earlier release does
    error_of(shop.reader(), after=token)


def test_while_nobody_can_say_what_became_of_a_write_the_read_does_not_guess(shop: Shop) -> None:
    token = refused(shop)
    shop.letters.close()  # type: ignore[union-attr]
    with pytest.raises(Inconclusive, match="not known"):
        shop.reader().get(["a"], after=token, timeout=0.5)
