"""Doctor against a real Kafka: what is wrong is named with its remedy, what is not there is a failed check."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from migration_rig import NAME, Rig, log_of, settings
from vecferry.backfill.context import StoreOpener
from vecferry.config import Config, load_config
from vecferry.errors import Refused, Unavailable
from vecferry.migration.doctor import examine
from vecferry.migration.gates import GateResult, Verdict
from vecferry.migration.start import start
from vecferry.schemas.partitioner import partitions_of
from vecferry.stores.base import Store


def examined(config: Config, open_store: StoreOpener) -> dict[str, GateResult]:
    with log_of(config) as log:
        return {check.name: check for check in examine(config, NAME, log, open_store=open_store)}


def by_name(rig: Rig) -> dict[str, GateResult]:
    return examined(rig.config, rig.stores.__getitem__)


@pytest.mark.server
def test_a_sound_collection_passes_every_check(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    for number in range(20):
        rig.upsert(f"id-{number}", 1.0)
    checks = by_name(rig)
    assert {check.verdict for check in checks.values()} == {Verdict.PASS}
    assert checks["partitioner"].measured == "20 newest records checked"
    assert checks["store old"].measured == "guarantee atomic"


@pytest.mark.server
def test_nothing_enrolled_is_refused_with_the_command(kafka_bootstrap: str) -> None:
    checks = by_name(Rig(kafka_bootstrap))
    assert checks["live topic"].verdict is Verdict.FAIL
    assert "vecferry enrol products" in checks["enrolment"].remedy


def do_start(rig: Rig) -> None:
    with rig.steering() as (context, lease):
        start(context, lease, say=lambda line: None, on_progress=lambda progress: None, timeout_s=0.1)


@pytest.mark.server
def test_a_foreign_partitioner_and_a_raised_partition_count_are_found(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    # The default of librdkafka's producer: CRC32, which puts some of these keys elsewhere.
    foreign = Producer({"bootstrap.servers": kafka_bootstrap})
    for number in range(50):
        foreign.produce(rig.events, key=f"id-{number}".encode(), value=b"x")
    assert foreign.flush(30) == 0
    check = by_name(rig)["partitioner"]
    assert check.verdict is Verdict.FAIL
    assert "belongs to partition" in check.measured
    assert "murmur2_random" in check.remedy
    for refused in (rig.enrol, lambda: do_start(rig)):
        with pytest.raises(Refused, match=r"partitioner: .*murmur2_random"):
            refused()
    assert rig.stores["new"].rows == {}
    rig.raise_partitions(5)
    assert "if the count was raised" in by_name(rig)["partitions"].remedy


@pytest.mark.server
def test_a_client_that_was_set_right_is_no_foreign_one(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    right = Producer({"bootstrap.servers": kafka_bootstrap, "partitioner": "murmur2_random"})
    for number in range(50):
        right.produce(rig.events, key=f"id-{number}".encode(), value=b"x")
    assert right.flush(30) == 0
    assert by_name(rig)["partitioner"].verdict is Verdict.PASS
    assert len(set(partitions_of([f"id-{number}" for number in range(50)], 3).tolist())) == 3


@pytest.mark.server
def test_a_store_that_is_away_is_a_failed_check(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()

    def open_store(name: str) -> Store:
        if name == "new":
            raise Unavailable("store new at ./lance does not answer; start it")
        return rig.stores[name]

    checks = examined(rig.config, open_store)
    assert checks["store new"].verdict is Verdict.FAIL
    assert "does not answer" in checks["store new"].measured
    assert checks["store old"].verdict is Verdict.PASS


def test_an_absent_kafka_is_a_failed_check_and_stores_are_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vecferry.log.kafka.admin.REQUEST_TIMEOUT_S", 0.5)
    rig = Rig("127.0.0.1:1")
    checks = examined(load_config(settings("127.0.0.1:1")), rig.stores.__getitem__)
    assert checks["kafka"].verdict is Verdict.FAIL
    assert "127.0.0.1:1 does not answer" in checks["kafka"].measured
    assert checks["store old"].verdict is Verdict.PASS
