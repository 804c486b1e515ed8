"""What every log does: Kafka, and the one in memory that stands in for it in the simulation."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from confluent_kafka import Producer
from step_clock import StepClock
from vecferry.config import KafkaSection
from vecferry.errors import Refused, VecferryError
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.memory import Broker, MemoryLog
from vecferry.log.port import Consumer, Log, Message, OffsetGone, Place, TooLarge
from vecferry.schemas.topics import control_topic
from waiting import wait_until

TOPIC = {"cleanup.policy": "delete"}
COMPACTED = {"cleanup.policy": "compact"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A log, and how another application leaves a transaction open behind one record of partition 0 of a topic."""

    log: Log
    leave_open: Callable[[str], object]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.server)])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    log: Log
    if request.param == "memory":
        broker = Broker()
        log = MemoryLog(broker, StepClock())
        leave_open = partial(left_open_in_memory, broker)
    else:
        bootstrap = request.getfixturevalue("kafka_bootstrap")
        log = KafkaLog(KafkaSection(bootstrap_servers=bootstrap, client={"session.timeout.ms": "6000"}))
        leave_open = partial(left_open, bootstrap)
    yield Way(log=log, leave_open=leave_open)
    log.close()


@pytest.fixture
def log(way: Way) -> Log:
    return way.log


def left_open_in_memory(broker: Broker, topic: str) -> None:
    broker.partition((topic, 0)).open_since = broker.append((topic, 0), b"k", b"open")


def left_open(bootstrap: str, topic: str) -> Producer:
    """The producer, which must live on."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic, "transaction.timeout.ms": 60_000})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"open", b"k", partition=0)
    assert producer.flush(30) == 0
    return producer


@dataclass(slots=True)
class Text:
    """A record of the control topic."""

    text: str

    def encode(self) -> bytes:
        return self.text.encode()


@dataclass(slots=True)
class Member:
    """A member of a group that reads what it is given from the first offset on."""

    log: Log
    topic: str
    group: str
    owned: set[int] = field(default_factory=set)
    commits: list[tuple[str | None, dict[Place, int]]] = field(default_factory=list)
    consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        self.consumer = self.log.consumer(self.group, lambda failure, done: self.commits.append((failure, dict(done))))
        self.consumer.subscribe(self.topic, self)

    def assigned(self, partitions: list[int]) -> None:
        self.owned |= set(partitions)
        self.consumer.read({(self.topic, partition): 0 for partition in partitions})

    def revoked(self, partitions: list[int]) -> None:
        self.owned -= set(partitions)
        self.consumer.leave({(self.topic, partition) for partition in partitions})

    lost = revoked

    def take(self, count: int) -> list[Message]:
        """The next ``count`` messages, ends of partitions left out."""
        taken: list[Message] = []

        def enough() -> bool:
            taken.extend(message for message in self.consumer.consume(count, 0.1) if message.error() is None)
            return len(taken) >= count

        wait_until(enough, 60)
        return taken


def unique(kind: str) -> str:
    return f"{kind}.{uuid.uuid4().hex[:8]}"


def topic_of(log: Log, partitions: int = 2) -> str:
    name = unique("contract")
    assert log.admin.create_topic(name, partitions, TOPIC)
    return name


def send(log: Log, topic: str, *records: tuple[int, str]) -> None:
    sender = log.sender()
    for partition, text in records:
        assert sender.send(topic, partition, text.encode(), key=b"k", headers=[("h", b"1")])
    assert sender.flush(30) == 0


def test_a_topic_is_made_once_and_described(log: Log) -> None:
    name = topic_of(log, 3)
    assert not log.admin.create_topic(name, 5, TOPIC)
    found = log.admin.topics([name, unique("absent")])
    assert {topic.name: topic.partitions for topic in found.values()} == {name: 3}
    assert found[name].settings["cleanup.policy"] == "delete"
    assert log.admin.topic_id(name) == log.admin.topic_id(name) != log.admin.topic_id(topic_of(log))


def test_offsets_rise_by_one_per_record_of_a_partition(log: Log) -> None:
    name = topic_of(log)
    send(log, name, (0, "a"), (1, "b"), (0, "c"))
    offsets = log.admin.offsets(name, 2)
    assert (offsets.begin, offsets.stable, offsets.end) == ((0, 0), (2, 1), (2, 1))
    assert log.admin.end_offsets(name, 2) == (2, 1)


def test_what_an_open_transaction_holds_back_lies_between_the_stable_offset_and_the_end(way: Way) -> None:
    log, name = way.log, topic_of(way.log)
    send(log, name, (0, "a"))
    kept = way.leave_open(name)
    send(log, name, (0, "b"), (1, "c"))
    offsets = log.admin.offsets(name, 2)
    assert (offsets.begin, offsets.stable, offsets.end) == ((0, 0), (1, 1), (3, 1))
    assert log.admin.end_offsets(name, 2) == (3, 1)
    assert log.admin.end_offsets(name, 2, stable=True) == (1, 1)
    assert sorted(str(message.value()) for message in log.newest(name, 2, 10)) == ["b'a'", "b'c'"]
    member = Member(log, name, unique("group"))
    assert sorted(str(message.value()) for message in member.take(2)) == ["b'a'", "b'c'"]
    wait_until(lambda: (member.consumer.poll(0.05), member.consumer.seen_end((name, 0)))[1] == 3, 60)
    member.consumer.close()
    del kept


def test_a_group_without_members_can_be_given_offsets(log: Log) -> None:
    name, group = topic_of(log), unique("group")
    assert log.admin.committed(group, name, 2) == {}
    log.admin.commit(group, name, {0: 7})
    assert log.admin.committed(group, name, 2) == {0: 7}


def test_a_member_reads_each_partition_in_order_and_learns_of_its_end(log: Log) -> None:
    name = topic_of(log)
    send(log, name, *[(number % 2, str(number)) for number in range(10)])
    member = Member(log, name, unique("group"))
    messages = member.take(10)
    assert member.owned == {0, 1}
    for partition in (0, 1):
        mine = [message for message in messages if message.partition() == partition]
        assert [message.offset() for message in mine] == list(range(5))
        assert [message.value() for message in mine] == [str(2 * n + partition).encode() for n in range(5)]
    first = messages[0]
    assert (first.topic(), first.key(), first.headers(), len(first)) == (name, b"k", [("h", b"1")], 1)
    member.consumer.seek((name, 0), 5)  # the end is told once more
    ends: list[Message] = []

    def is_told() -> bool:
        ends.extend(message for message in member.consumer.consume(10, 0.1) if message.error() is not None)
        return any((message.partition(), message.offset()) == (0, 5) for message in ends)

    wait_until(is_told, 60)
    member.consumer.close()


def test_what_was_read_can_be_read_again_and_what_is_paused_waits(log: Log) -> None:
    name = topic_of(log, 1)
    send(log, name, (0, "a"), (0, "b"))
    member = Member(log, name, unique("group"))
    member.take(2)
    member.consumer.pause({(name, 0)})
    member.consumer.seek((name, 0), 1)
    assert [message for message in member.consumer.consume(5, 0.5) if message.error() is None] == []
    member.consumer.resume({(name, 0)})
    assert [message.value() for message in member.take(1)] == [b"b"]
    wait_until(lambda: member.consumer.poll(0.05) is not None or member.consumer.seen_end((name, 0)) == 2, 60)
    member.consumer.close()


def test_a_commit_is_confirmed_and_seen_by_all(log: Log) -> None:
    name, group = topic_of(log, 1), unique("group")
    send(log, name, (0, "a"), (0, "b"))
    member = Member(log, name, group)
    member.take(2)
    assert member.consumer.committed([(name, 0)]) == {}
    member.consumer.commit({(name, 0): 2}, wait=True)
    assert member.commits == [(None, {(name, 0): 2})]
    assert member.consumer.committed([(name, 0)]) == {(name, 0): 2}
    assert log.admin.committed(group, name, 1) == {0: 2}
    member.consumer.close()


def test_two_members_share_the_partitions_and_one_inherits(log: Log) -> None:
    name, group = topic_of(log, 4), unique("group")
    first = Member(log, name, group)
    wait_until(lambda: first.consumer.poll(0.05) is not None and len(first.owned) == 4, 60)
    second = Member(log, name, group)

    def shared() -> bool:
        for member in (first, second):
            member.consumer.poll(0.05)
        return len(first.owned) == len(second.owned) == 2

    wait_until(shared, 60)
    assert first.owned | second.owned == {0, 1, 2, 3}
    second.consumer.close()

    def inherited() -> bool:
        first.consumer.poll(0.05)
        return len(first.owned) == 4

    wait_until(inherited, 60)
    first.consumer.close()


def test_an_offset_that_is_not_there_is_said_and_nothing_is_skipped(log: Log) -> None:
    name = topic_of(log, 1)
    send(log, name, (0, "a"))
    member = Member(log, name, unique("group"))
    member.take(1)
    member.consumer.seek((name, 0), 99)
    with pytest.raises(OffsetGone) as raised:
        wait_until(lambda: member.consumer.poll(0.1) is None and False, 60)
    assert raised.value.place == (name, 0)
    member.consumer.close()


def test_the_newest_value_of_a_key_stands_and_null_removes_it(log: Log) -> None:
    name = unique("table")
    log.admin.create_topic(name, 1, COMPACTED)
    sender, table = log.sender(), log.table(name)
    for key, value in (("a/1", b"old"), ("a/2", b"x"), ("a/1", b"new"), ("b", b"y"), ("a/2", None)):
        sender.send(name, 0, value, key=key.encode(), headers=[("of", key)])
    assert sender.flush(30) == 0
    table.sync()
    assert (table.get("a/1"), table.get("a/2"), table.items("a/")) == (b"new", None, {"a/1": b"new"})
    assert (table.headers("b"), table.headers("a/2")) == ({"of": b"b"}, {})
    assert (table.changes, table.ended) == (5, False)
    sender.send(name, 0, b"z", key=b"c")
    sender.flush(30)
    assert table.wait_for(lambda: table.get("c") == b"z", 30)
    assert not table.wait_for(lambda: False, 0.05)
    table.close()


def test_a_table_of_a_topic_that_is_not_there_says_so(log: Log) -> None:
    table = log.table(unique("absent"))
    for ask in (lambda: table.get("key"), lambda: table.items(""), lambda: table.headers("key")):
        with pytest.raises(VecferryError):
            ask()
    with pytest.raises(VecferryError):
        table.sync(5)
    table.close()


def test_a_writer_writes_all_or_nothing_and_fences_the_one_before(log: Log) -> None:
    namespace = uuid.uuid4().hex[:8]
    log.admin.create_topic(control_topic(namespace), 1, COMPACTED)
    table, first = log.table(control_topic(namespace)), log.writer(namespace, "things")
    first.write({"a": Text("1"), "b": Text("2")})
    table.sync()
    assert table.items("") == {"a": b"1", "b": b"2"}
    second, other = log.writer(namespace, "things"), log.writer(namespace, "others")
    with pytest.raises(Refused, match="another controller of collection 'things' has taken over"):
        first.write({"a": Text("3")})
    second.write({"a": None, "c": Text("4")})
    other.write({"d": Text("5")})
    table.sync()
    assert table.items("") == {"b": b"2", "c": b"4", "d": b"5"}
    for writer in (first, second, other):
        writer.close()
    table.close()


@pytest.mark.parametrize("bulk", [False, True])
def test_a_record_that_is_too_large_is_reported_and_the_others_arrive(log: Log, bulk: bool) -> None:
    name = topic_of(log, 1)
    sender, failures = log.sender(bulk=bulk), list[VecferryError]()
    sender.learn(name)
    for text in (b"a", b"x" * 2_000_000, b"b"):
        assert sender.send(name, 0, text, on_failure=failures.append)
    assert sender.flush(30) == 0
    sender.serve()
    assert [type(failure) for failure in failures] == [TooLarge]
    member = Member(log, name, unique("group"))
    assert [message.value() for message in member.take(2)] == [b"a", b"b"]
    member.consumer.close()
