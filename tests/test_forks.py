"""What a process opened before a fork is refused in the child, by name and at once, and the parent goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from forking import in_child, refused_at_once
from log_world import config_for
from mock_kafka import MockKafka
from publishing import PARTITIONS, TOPIC, VECTOR, open_publisher, read_all
from reads_fakes import World, version_of
from store_data import PLACEMENT, collection
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import Forked, Refused
from vecferry.forks import Home, ModuleLock
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.port import Place
from vecferry.pipeline import Pipeline
from vecferry.reads.async_reader import AsyncReader
from vecferry.stores.lancedb import open as open_lance
from vecferry.stores.lancedb.options import Options

pytestmark = pytest.mark.slow


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        yield cluster


class Owner:
    pass


def test_a_child_is_told_what_belongs_to_whom_and_where_to_open_it_instead() -> None:
    owner = Owner()
    home = Home("this thing", owner)
    home.check()
    (answer,) = in_child({"check": home.check}).values()
    assert answer.error == "Forked"
    for part in ("this thing belongs to another process", "post_fork", "worker_process_init", "the child runs"):
        assert part in answer.said
    assert issubclass(Forked, Refused)


def test_a_lock_that_the_parent_holds_is_free_in_the_child() -> None:
    lock = ModuleLock()

    def take() -> str:
        with lock, lock:
            return "taken"

    with lock:
        answers = in_child({"take": take})
    assert answers["take"].said == "'taken'"


def test_a_pipeline_refuses_in_a_child_before_and_after_it_was_used() -> None:
    pipeline = Pipeline(config_for("127.0.0.1:1", "ns"))
    calls = {
        "publisher": lambda: pipeline.publisher("things"),
        "reader": lambda: pipeline.reader("things"),
        "async_reader": lambda: pipeline.async_reader("things"),
    }
    assert refused_at_once(in_child(calls)) == []
    pipeline.reader("things", open_timeout_s=0)
    assert refused_at_once(in_child(calls)) == []
    answer = in_child({"close": pipeline.close})["close"]
    assert (answer.error, answer.took_s < 2.0) == ("", True)
    pipeline.close()


def test_a_publisher_and_its_deliveries_refuse_in_a_child_and_the_parent_goes_on(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        publisher.upsert("a", VECTOR).result(timeout=30)
        kafka.answer_after(1_000)
        waiting = publisher.upsert("b", VECTOR)
        calls = {
            "upsert": lambda: publisher.upsert("c", VECTOR),
            "upsert_many": lambda: publisher.upsert_many(["c"], [VECTOR]),
            "delete": lambda: publisher.delete("a"),
            "flush": publisher.flush,
            "result": waiting.result,
            "wait": lambda: waiting.wait(None),
            "done": waiting.done,
            "await": lambda: asyncio.run(wait_for(waiting)),
        }
        assert refused_at_once(in_child(calls)) == []
        assert in_child({"close": publisher.close})["close"].error == ""
        kafka.answer_after(0)
        waiting.result(timeout=30)
    assert sorted(read_all(kafka, 2).ids) == ["a", "b"]


async def wait_for(delivery: object) -> object:
    return await delivery  # type: ignore[misc]


def test_a_child_publishes_through_one_of_its_own(kafka: MockKafka) -> None:
    def publish() -> int:
        with open_publisher(kafka) as own:
            return len(own.upsert("child", VECTOR).result(timeout=30).positions)

    with open_publisher(kafka) as publisher:
        publisher.upsert("a", VECTOR).result(timeout=30)
        assert in_child({"publish": publish})["publish"].said == "1"
        publisher.upsert("b", VECTOR).result(timeout=30)
    assert sorted(read_all(kafka, 3).ids) == ["a", "b", "child"]


def test_readers_and_their_stores_refuse_in_a_child() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    reader = world.reader()
    assert version_of(reader, "a") == 1
    asynchronous = AsyncReader(world.reader(), clock=SYSTEM_CLOCK)
    calls = {
        "get": lambda: reader.get(["a"]),
        "search": lambda: reader.search([1.0, 0.0]),
        "open": lambda: reader.open(1.0),
        "route": lambda: reader.route,
        "known_route": lambda: reader.known_route,
        "stats": lambda: reader.stats,
        "async get": lambda: asyncio.run(asynchronous.get(["a"])),
        "async search": lambda: asyncio.run(asynchronous.search([1.0, 0.0])),
        "async stats": lambda: asynchronous.stats,
    }
    assert refused_at_once(in_child(calls)) == []
    closing_calls = {
        "reader": reader.close,
        "async reader": lambda: asyncio.run(asynchronous.close()),
        "pool": world.pool.close,
    }
    assert {answer.error for answer in in_child(closing_calls).values()} == {""}
    assert version_of(reader, "a") == 1
    assert not world.stores["old"].closed


class Nobody:
    def assigned(self, partitions: list[int]) -> None: ...
    def revoked(self, partitions: list[int]) -> None: ...
    def lost(self, partitions: list[int]) -> None: ...


def test_what_reads_and_writes_the_log_refuses_in_a_child(kafka: MockKafka) -> None:
    place: Place = (TOPIC, 0)
    with closing(KafkaLog(config_for(kafka.bootstrap_servers, "ns").kafka)) as log:
        admin, table, sender, bulk = log.admin, log.table(TOPIC), log.sender(), log.sender(bulk=True)
        consumer = log.consumer("group", lambda why, offsets: None)
        assert sender.send(TOPIC, 0, b"x", key=b"k")
        assert sender.flush(30) == 0
        calls = {
            "log.admin": lambda: log.admin,
            "log.table": lambda: log.table(TOPIC),
            "log.newest": lambda: log.newest(TOPIC, PARTITIONS, 1),
            "log.writer": lambda: log.writer("ns", "things"),
            "log.sender": log.sender,
            "log.consumer": lambda: log.consumer("group", lambda why, offsets: None),
            "admin.topics": lambda: admin.topics([TOPIC]),
            "admin.create_topic": lambda: admin.create_topic("other", 1, {}),
            "admin.end_offsets": lambda: admin.end_offsets(TOPIC, PARTITIONS),
            "admin.committed": lambda: admin.committed("group", TOPIC, PARTITIONS),
            "table.get": lambda: table.get("k"),
            "table.items": lambda: table.items(""),
            "table.headers": lambda: table.headers("k"),
            "table.sync": lambda: table.sync(1.0),
            "table.wait_for": lambda: table.wait_for(lambda: True, 1.0),
            "sender.send": lambda: sender.send(TOPIC, 0, b"x"),
            "sender.serve": sender.serve,
            "sender.learn": lambda: sender.learn(TOPIC),
            "sender.flush": lambda: sender.flush(1.0),
            "bulk.flush": lambda: bulk.flush(1.0),
            "consumer.subscribe": lambda: consumer.subscribe(TOPIC, Nobody()),
            "consumer.poll": lambda: consumer.poll(0.1),
            "consumer.consume": lambda: consumer.consume(1, 0.1),
            "consumer.read": lambda: consumer.read({place: 0}),
            "consumer.committed": lambda: consumer.committed([place]),
            "consumer.commit": lambda: consumer.commit({place: 0}, wait=True),
        }
        assert refused_at_once(in_child(calls)) == []
        closings = {"consumer": consumer.close, "table": table.close, "log": log.close}
        assert {answer.error for answer in in_child(closings).values()} == {""}
        assert sender.send(TOPIC, 0, b"y", key=b"k")
        assert sender.flush(30) == 0
        consumer.close()


def test_a_table_of_lance_refuses_in_a_child_and_serves_the_parent(tmp_path: Path) -> None:
    store = open_lance(Options.model_validate({"uri": str(tmp_path)}), collection(), PLACEMENT)
    store.create(complete=False)
    calls = {"fetch": lambda: store.fetch(["a"]), "applied": store.applied, "count": store.count}
    assert refused_at_once(in_child(calls)) == []
    assert in_child({"close": store.close})["close"].error == ""
    assert store.count() == 0
    another = in_child({"open": lambda: open_lance(Options.model_validate({"uri": "x"}), collection(), PLACEMENT)})
    assert another["open"].error == "Forked"
    assert "spawn or forkserver" in another["open"].said
