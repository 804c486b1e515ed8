"""Somebody deletes the live topic and makes it anew: no publisher, worker or reader takes it for the one that was."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import vecferry
from confluent_kafka.admin import AdminClient
from migration_rig import DIMENSION, NAME, PARTITIONS, Rig, settings
from vecferry.errors import Inconclusive, NotDelivered, Refused, VecferryError
from vecferry.journal.progress import live_progress_key
from vecferry.log.kafka.clients import admin_config
from vecferry.log.topics import LIVE_TOPIC
from vecferry.producers import Publisher
from waiting import wait_until

pytestmark = pytest.mark.server

ANEW = "was deleted and made anew since the collection was enrolled"
VECTOR = np.ones(DIMENSION, np.float32)


@pytest.fixture
def rig(kafka_bootstrap: str) -> Rig:
    made = Rig(kafka_bootstrap)
    made.enrol()
    return made


def make_anew(rig: Rig) -> None:
    client = AdminClient(admin_config(rig.config.kafka))
    before = rig.admin.topic_id(rig.events)
    client.delete_topics([rig.events])[rig.events].result()
    wait_until(lambda: rig.events not in client.list_topics(timeout=10).topics)
    wait_until(lambda: rig.admin.create_topic(rig.events, PARTITIONS, LIVE_TOPIC))
    assert rig.admin.topic_id(rig.events) != before


def published_until_refused(publisher: Publisher) -> list[str]:
    """What was acknowledged before the publisher refused."""
    acknowledged: list[str] = []
    told: list[str] = []

    def refused() -> bool:
        id_ = uuid.uuid4().hex
        try:
            publisher.upsert(id_, VECTOR).result(30)
        except (NotDelivered, Inconclusive):
            return False
        except Refused as error:
            told.append(str(error))
            return True
        acknowledged.append(id_)
        return False

    wait_until(refused, what="the publisher to notice")
    assert ANEW in told[0]
    return acknowledged


def test_an_open_publisher_gets_no_write_acknowledged_that_no_store_will_have(rig: Rig) -> None:
    with vecferry.open(rig.config) as pipeline, pipeline.publisher(NAME) as publisher:
        for number in range(30):
            publisher.upsert(f"id-{number}", VECTOR).result(30)
        make_anew(rig)
        assert published_until_refused(publisher) == []


def test_a_new_publisher_refuses(rig: Rig) -> None:
    rig.upsert("before", 1.0)
    make_anew(rig)
    with vecferry.open(rig.config) as pipeline, pytest.raises(Refused, match=ANEW):
        pipeline.publisher(NAME)


def test_a_publisher_refuses_where_a_worker_reported_more_than_the_log_holds(rig: Rig) -> None:
    rig.upsert("a", 1.0)
    rig.report("old", {0: 5})
    with vecferry.open(rig.config) as pipeline, pytest.raises(Refused, match=r"\[0\] up to offset 5, and the topic"):
        pipeline.publisher(NAME)
    rig.produce(rig.config.namespace + ".progress", live_progress_key(NAME, "old", 0).encode(), None, 0)
    with vecferry.open(rig.config) as pipeline, pipeline.publisher(NAME) as publisher:
        publisher.upsert("b", VECTOR).result(30)


def test_after_a_write_to_the_new_topic_a_reader_returns_no_old_row(rig: Rig, tmp_path: Path) -> None:
    data = settings(rig.config.kafka.bootstrap_servers, rig.config.namespace)
    data["stores"] = {store: {"kind": "lancedb", "uri": str(tmp_path / store)} for store in ("old", "new", "third")}
    told: list[str] = []
    with vecferry.open(data) as pipeline, pipeline.publisher(NAME) as publisher:
        token = publisher.upsert("a", VECTOR).result(30)
        reader = pipeline.reader(NAME)
        make_anew(rig)

        def refused() -> bool:
            try:
                reader.get(["a"], after=token, timeout=1.0)
            except Refused as error:
                told.append(str(error))
            except VecferryError:
                pass  # its stores are empty
            return bool(told)

        wait_until(refused, what="the reader to notice")
    assert ANEW in told[0]
