"""Whatever an application hands to a public call, what comes back is an answer or an error of ``errors.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
import vecferry
from log_world import config_for
from mock_kafka import MockKafka
from publishing import PARTITIONS, TOPIC, VECTOR, open_publisher
from reads_fakes import World
from vecferry import errors
from vecferry.clock import SYSTEM_CLOCK
from vecferry.producers import Publisher
from vecferry.reads.async_reader import AsyncReader
from vecferry.reads.reader import Reader
from vecferry.reads.session import Session

ODD: tuple[Any, ...] = (
    *(None, True, 7, -1, 0, float("nan"), 10**400, "x", "\ud800", "", b"x", [], ["a", None], [[1.0, 2.0], [3.0]], {}),
    *({"a": 1}, {1: 2}, {"a": object()}, {"a": {"$in": 7}}),
    *(object(), np.float64(1), np.array([1, 2]), Session(), iter("ab")),
)
ROW = [1.0, 0.0]

Calls = dict[str, Callable[[Any], object]]


def strange(calls: Calls) -> list[str]:
    """What came out of ``calls`` with odd arguments and is not one of our errors."""
    found = []
    for name, call in calls.items():
        for odd in ODD:
            try:
                call(odd)
            except Exception as error:  # noqa: BLE001  it is what is looked at
                if type(error).__module__ != errors.__name__:
                    found.append(f"{name}({odd!r:.40}): {type(error).__name__}: {error}")
    return found


def test_opening_a_pipeline() -> None:
    pipeline = vecferry.open(config_for("127.0.0.1:1", "ns"))
    calls: Calls = {
        "open": vecferry.open,
        "publisher": pipeline.publisher,
        "on_full": lambda odd: pipeline.publisher("things", on_full=odd),
        "reader": pipeline.reader,
        "open_timeout_s": lambda odd: pipeline.reader("none", open_timeout_s=odd),
        "async_reader": pipeline.async_reader,
    }
    assert strange(calls) == []
    pipeline.close()
    with pytest.raises(errors.Unavailable, match="closed"):
        pipeline.publisher("things")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with MockKafka() as kafka:
        kafka.create_topic(TOPIC, PARTITIONS)
        with open_publisher(kafka) as opened:
            yield opened


def test_publishing(publisher: Publisher) -> None:
    delivery = publisher.upsert("a", VECTOR)
    calls: Calls = {
        "id": lambda odd: publisher.upsert(odd, VECTOR),
        "vector": lambda odd: publisher.upsert("a", odd),
        "metadata": lambda odd: publisher.upsert("a", VECTOR, odd),
        "source_text": lambda odd: publisher.upsert("a", VECTOR, source_text=odd),
        "ids": lambda odd: publisher.upsert_many(odd, [VECTOR, VECTOR]),
        "vectors": lambda odd: publisher.upsert_many(["a"], odd),
        "many metadata": lambda odd: publisher.upsert_many(["a"], [VECTOR], odd),
        "source_texts": lambda odd: publisher.upsert_many(["a"], [VECTOR], source_texts=odd),
        "delete": publisher.delete,
        "flush": publisher.flush,
        "result": delivery.result,
        "token": vecferry.WriteToken.parse,
    }
    assert strange(calls) == []


def reads(reader: Reader) -> Calls:
    return {
        "vector": reader.search,
        "k": lambda odd: reader.search(ROW, odd),
        "filter": lambda odd: reader.search(ROW, filter=odd),
        "after": lambda odd: reader.search(ROW, after=odd, timeout=0.05),
        "session": lambda odd: reader.search(ROW, session=odd, timeout=0.05),
        "key": lambda odd: reader.search(ROW, key=odd),
        "timeout": lambda odd: reader.search(ROW, timeout=odd),
        "ids": reader.get,
        "open": reader.open,
    }


def test_reading() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    reader = world.reader()
    assert strange(reads(reader)) == []
    session = Session()
    assert strange({"observe": session.observe, "parse": Session.parse}) == []
    reader.close()
    assert strange(reads(reader)) == []


def test_reading_from_a_coroutine() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")

    def run(call: Callable[[AsyncReader], Awaitable[object]]) -> object:
        async def main() -> object:
            async with AsyncReader(world.reader(), clock=SYSTEM_CLOCK, max_reads=2) as reader:
                return await call(reader)

        return asyncio.run(main())

    calls: Calls = {
        "vector": lambda odd: run(lambda reader: reader.search(odd)),
        "filter": lambda odd: run(lambda reader: reader.search(ROW, filter=odd)),
        "ids": lambda odd: run(lambda reader: reader.get(odd)),
        "timeout": lambda odd: run(lambda reader: reader.get(["a"], timeout=odd)),
        "max_reads": lambda odd: AsyncReader(world.reader(), clock=SYSTEM_CLOCK, max_reads=odd),
    }
    assert strange(calls) == []


def test_a_read_that_is_behind_raises_what_the_guide_names() -> None:
    world = World()
    token = world.write("a", 1)
    with pytest.raises(errors.Inconclusive, match="store 'old' has applied partition 0") as raised:
        world.reader().get(["a"], after=token, timeout=0.1)
    assert type(raised.value) is errors.Inconclusive
