"""The broker's clock decides how old a record is: a producer whose clock is wrong loses nothing."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from log_world import run_record
from migration_rig import NAME, PARTITIONS, Rig, log_of
from vecferry.clock import SYSTEM_CLOCK
from vecferry.journal.run import run_key
from vecferry.log.kafka.clients import consumer_config, producer_config
from vecferry.log.topics import BROKER_TIME, COMPACTED_TOPIC, DEAD_LETTER_TOPIC, LIVE_TOPIC, SNAPSHOT_TOPIC
from vecferry.migration.doctor import examine
from vecferry.migration.gates import GateResult, Verdict

DAY_S = 86_400.0


@pytest.mark.parametrize("settings", [LIVE_TOPIC, SNAPSHOT_TOPIC, COMPACTED_TOPIC, DEAD_LETTER_TOPIC])
def test_every_kind_of_topic_is_made_with_the_brokers_time(settings: dict[str, str]) -> None:
    assert BROKER_TIME.items() <= settings.items()


@pytest.mark.server
@pytest.mark.parametrize("off_s", [-40 * DAY_S, 2 * 3_600.0])
def test_a_write_of_a_producer_whose_clock_is_wrong_is_taken_and_kept(kafka_bootstrap: str, off_s: float) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    now_s = SYSTEM_CLOCK.unix_s()
    producer = Producer(producer_config(rig.config.kafka))
    failures: list[object] = []
    producer.produce(
        rig.events,
        key=b"id",
        value=b"x",
        partition=0,
        timestamp=int(1_000 * (now_s + off_s)),
        on_delivery=lambda error, _: failures.append(error),
    )
    assert producer.flush(30) == 0
    assert failures == [None]
    consumer = Consumer(consumer_config(rig.config.kafka, "times"))
    consumer.assign([TopicPartition(rig.events, 0, 0)])
    message = consumer.poll(30)
    assert message is not None
    kind, at_ms = message.timestamp()
    consumer.close()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert abs(at_ms / 1_000 - now_s) < 3_600


def times(rig: Rig) -> list[GateResult]:
    with log_of(rig.config) as log:
        checks = examine(rig.config, NAME, log, open_store=rig.stores.__getitem__)
    return [check for check in checks if check.name == "record times"]


@pytest.mark.server
def test_doctor_names_an_older_topic_whatever_its_kind_and_prints_the_command(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, namespace=f"t{uuid.uuid4().hex[:10]}")
    rig.enrol()
    assert [check.verdict for check in times(rig)] == [Verdict.PASS]
    older = f"{rig.config.namespace}.{NAME}.snapshot.r7"
    rig.admin.create_topic(older, PARTITIONS, {"message.timestamp.type": "CreateTime"})
    with rig.steering() as (_, lease):
        lease.write({run_key(NAME, "r7"): run_record("r7", 1)})
    (found,) = times(rig)
    assert found.verdict is Verdict.FAIL
    assert older in found.measured
    assert f"--bootstrap-server {kafka_bootstrap} --alter --entity-type topics --entity-name {older}" in found.remedy
    assert found.remedy.endswith("--add-config message.timestamp.type=LogAppendTime")
