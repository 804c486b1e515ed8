"""The publisher when Kafka does not take a record, when it is closed, and in a forked child."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import mock_kafka
import numpy as np
import pytest
from mock_kafka import MockKafka
from publishing import PARTITIONS, VECTOR, D, open_publisher, read_all, warm
from vecferry.errors import Inconclusive, InvalidRecord, NotDelivered, Refused
from vecferry.producers.delivery import Delivery
from vecferry.producers.reports import Reports
from waiting import wait_until

pytestmark = pytest.mark.slow

ONE_EACH = {"linger.ms": 0, "batch.num.messages": 1, "retry.backoff.ms": 10, "retry.backoff.max.ms": 50}


def test_retriable_errors_are_retried_without_duplicates_or_reordering(kafka: MockKafka) -> None:
    with open_publisher(kafka, {"retry.backoff.ms": 10, "retry.backoff.max.ms": 50}) as publisher:
        warm(publisher)
        kafka.fail_next(mock_kafka.NOT_LEADER, mock_kafka.REQUEST_TIMED_OUT, mock_kafka.NOT_ENOUGH_REPLICAS)
        written = [publisher.upsert("a", VECTOR, {"n": n}) for n in range(100)]
        positions = [delivery.result(timeout=30).position for delivery in written]
    assert positions == sorted(set(positions))
    events = read_all(kafka, 101)
    assert [text for id_, text in zip(events.ids, events.metadata, strict=True) if id_ == "a"] == [
        b'{"n":%d}' % n for n in range(100)
    ]


def test_a_refused_write_raises_kafkas_reason_wherever_it_is_waited_for(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.fail_next(mock_kafka.TOPIC_AUTHORIZATION_FAILED)
        delivery = publisher.upsert("a", VECTOR)
        with pytest.raises(NotDelivered, match=r"'a': TOPIC_AUTHORIZATION_FAILED"):
            delivery.result(timeout=30)

        async def wait() -> None:
            await delivery

        with pytest.raises(NotDelivered, match="TOPIC_AUTHORIZATION_FAILED"):
            asyncio.run(wait())
        publisher.flush()  # somebody saw the failure: it is not reported again
        with pytest.raises(NotDelivered, match=r"0 of 20 rows were accepted: .*TOPIC_AUTHORIZATION_FAILED"):
            publisher.upsert_many([f"id-{i}" for i in range(20)], np.ones((20, D)))


def test_a_batch_names_what_kafka_refused(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.fail_next(*[mock_kafka.MESSAGE_TOO_LARGE] * PARTITIONS)
        with pytest.raises(NotDelivered, match=r"of the batch of 20 that starts with 'id-0': 'id-\d+': MSG_SIZE"):
            publisher.upsert_many([f"id-{i}" for i in range(20)], np.ones((20, D))).result(timeout=30)


def test_a_duplicate_that_the_broker_does_not_remember_has_no_position(kafka: MockKafka) -> None:
    """librdkafka takes it for a success and counts offsets up from -1: a token would let a reader see older rows."""
    with open_publisher(kafka, {"linger.ms": 500}) as publisher:  # the five below are one request
        for delivery in [publisher.upsert("a", VECTOR) for _ in range(20)]:
            delivery.result(timeout=30)
        kafka.fail_next(mock_kafka.DUPLICATE_SEQUENCE_NUMBER)
        for delivery in [publisher.upsert("a", VECTOR) for _ in range(5)]:
            with pytest.raises(NotDelivered, match="without an offset"):
                delivery.result(timeout=30)
        token = publisher.upsert("a", VECTOR).result(timeout=30)
    assert read_all(kafka, 21).positions[-1] == token.position


def test_a_refused_write_is_sent_again(kafka: MockKafka) -> None:
    """One request is under way unless the application asks for more: see docs/decisions/0020."""
    with open_publisher(kafka, ONE_EACH) as publisher:
        warm(publisher)
        kafka.answer_after(20)
        kafka.fail_next(mock_kafka.NOT_LEADER)
        written = [publisher.upsert("a", VECTOR, {"n": n}) for n in range(4)]
        positions = [delivery.result(timeout=30).position for delivery in written]
    events = read_all(kafka, 5)
    ours = [row for row, id_ in enumerate(events.ids) if id_ == "a"]
    assert events.positions[ours].tolist() == positions
    assert [events.metadata[row] for row in ours] == [b'{"n":%d}' % n for n in range(4)]


def test_a_refused_write_is_not_taken_for_acknowledged_when_a_later_one_is(kafka: MockKafka) -> None:
    """librdkafka reports it as delivered, without an offset, and it is not in the log: see docs/decisions/0020."""
    with open_publisher(kafka, {**ONE_EACH, "max.in.flight": 5}) as publisher:
        warm(publisher)
        kafka.answer_after(500)  # so that the later ones are under way by then
        kafka.fail_next(mock_kafka.NOT_LEADER)
        written = [publisher.upsert("a", VECTOR, {"n": n}) for n in range(4)]
        with pytest.raises(NotDelivered, match=r"without an offset\); publish it again, unless a newer write"):
            written[0].result(timeout=30)
        positions = [delivery.result(timeout=30).position for delivery in written[1:]]
    events = read_all(kafka, 4)
    ours = [row for row, id_ in enumerate(events.ids) if id_ == "a"]
    assert events.positions[ours].tolist() == positions
    assert [events.metadata[row] for row in ours] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_leaving_the_context_names_what_failed_unseen(kafka: MockKafka) -> None:
    def application() -> None:
        with open_publisher(kafka) as publisher:
            warm(publisher)
            kafka.fail_next(mock_kafka.TOPIC_AUTHORIZATION_FAILED)
            publisher.upsert("lost", VECTOR)

    with pytest.raises(NotDelivered, match=r"1 publications: 'lost': TOPIC_AUTHORIZATION_FAILED"):
        application()


def test_leaving_the_context_while_kafka_is_away_ends_in_time_and_fails_every_delivery(kafka: MockKafka) -> None:
    deliveries = []

    def application() -> None:
        with open_publisher(kafka, close_timeout_s=0.3) as publisher:
            warm(publisher)
            kafka.set_down()
            deliveries.append(publisher.upsert("a", VECTOR))
            with pytest.raises(Inconclusive, match=r"within 0.05 s"):
                deliveries[0].result(timeout=0.05)

    with pytest.raises(NotDelivered, match="'a': not acknowledged yet"):
        application()
    with pytest.raises(NotDelivered, match="'a': _PURGE"):
        deliveries[0].result(timeout=5)


def test_an_exception_in_flight_is_not_masked(kafka: MockKafka) -> None:
    def application() -> None:
        with open_publisher(kafka, close_timeout_s=0.2) as publisher:
            warm(publisher)
            kafka.set_down()
            publisher.upsert("a", VECTOR)
            raise KeyError("application")

    with pytest.raises(KeyError) as raised:
        application()
    assert "'a': not acknowledged yet" in raised.value.__notes__[0]


def test_a_call_that_is_under_way_while_the_publisher_closes_has_its_result(
    kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = open_publisher(kafka)
    warm(publisher)
    late: list[Delivery] = []
    stop = Reports.stop

    def stopped(reports: Reports) -> None:
        stop(reports)
        refusal, publisher._refusal = publisher._refusal, None  # its call had passed the check before close began
        late.append(publisher.upsert("late", VECTOR))
        publisher._refusal = refusal

    monkeypatch.setattr(Reports, "stop", stopped)
    publisher.close()
    assert late[0].done()
    if late[0].problem() == "'late'":
        assert read_all(kafka, 2).ids.count("late") == 1
    else:
        with pytest.raises(NotDelivered, match=r"_DESTROY|_PURGE_"):
            late[0].result(0)


def test_a_fatal_error_of_the_client_is_said_by_every_later_call(kafka: MockKafka) -> None:
    publisher = open_publisher(kafka)
    warm(publisher)
    kafka.fail_next(mock_kafka.OUT_OF_ORDER_SEQUENCE_NUMBER)
    with pytest.raises(NotDelivered):
        publisher.upsert("a", VECTOR).result(timeout=30)

    def refused() -> bool:
        try:
            publisher.upsert("b", VECTOR)
        except Refused as error:
            return "stopped for good" in str(error) and "open another" in str(error)
        return False

    wait_until(refused, what="the refusal")
    with pytest.raises(Refused, match="stopped for good"):
        publisher.delete("b")
    with pytest.raises(Refused, match="stopped for good"):
        publisher.upsert_many(["b"], np.ones((1, D)))
    publisher.close()


def test_a_closed_publisher_refuses(kafka: MockKafka) -> None:
    publisher = open_publisher(kafka)
    publisher.close()
    publisher.close()
    with pytest.raises(Refused, match="closed"):
        publisher.upsert("a", VECTOR)


FORK_AND_EXIT = """
import os, sys
import numpy as np
from vecferry.producers import Publisher
from vecferry.producers.reports import Reports
from vecferry.schemas.collection import Collection, Space

collection = Collection(name="c", space=Space(model="m", version="1", dimension=2, metric="dot"), partitions=4)
client = {"bootstrap.servers": sys.argv[1]}
with Publisher(collection, topic="shop.products.events", producer_config=client) as publisher:
    publisher.upsert("a", np.ones(2)).result(timeout=30)
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


def test_a_forked_child_exits_normally_without_waiting_for_threads_that_it_does_not_have(kafka: MockKafka) -> None:
    command = [sys.executable, "-c", FORK_AND_EXIT, kafka.bootstrap_servers]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (mock_kafka.MESSAGE_TOO_LARGE, "raise max.message.bytes of the topic, or shorten the record"),
        (mock_kafka.TOPIC_AUTHORIZATION_FAILED, "allow it READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on the topics"),
    ],
)
def test_a_write_that_the_broker_refuses_says_what_to_do(kafka: MockKafka, code: int, remedy: str) -> None:
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.fail_next(code)
        with pytest.raises(NotDelivered, match=remedy):
            publisher.upsert("a", VECTOR).result(timeout=30)


def test_what_a_short_topic_does_not_take_is_refused_at_the_call(kafka: MockKafka) -> None:
    with open_publisher(kafka, max_record_bytes=4_000) as publisher:
        many = [publisher.upsert(f"id-{n}", VECTOR, {"text": "x" * 500}) for n in range(50)]
        with pytest.raises(InvalidRecord, match=r"larger than message\.max\.bytes"):
            publisher.upsert("a", VECTOR, {"text": "x" * 5_000})
        for delivery in many:
            delivery.result(timeout=30)


def test_a_publisher_logs_an_outage_once_and_its_end_once(kafka: MockKafka, caplog: pytest.LogCaptureFixture) -> None:
    with open_publisher(kafka, {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 20}) as publisher:
        warm(publisher)
        kafka.set_down()
        late = publisher.upsert("a", VECTOR)
        wait_until(lambda: "does not answer" in caplog.text, what="the outage to be noticed")
        kafka.set_up()
        late.result(timeout=30)
        wait_until(lambda: "answers again" in caplog.text, what="the end to be noticed")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("vecferry")]
    assert len(said) == 2, said
    assert said[0].endswith("; going on when it does")


def test_an_offset_that_was_given_out_before_the_publisher_opened_is_no_acknowledgement(kafka: MockKafka) -> None:
    doubts: list[bool] = []
    with open_publisher(kafka, log_ends=[100] * PARTITIONS, on_doubt=lambda: doubts.append(True)) as publisher:
        with pytest.raises(NotDelivered, match="without an offset of its own"):
            publisher.upsert("a", VECTOR).result(timeout=30)
        assert publisher.reached() == dict.fromkeys(range(PARTITIONS), 100)
    assert doubts == [True]
