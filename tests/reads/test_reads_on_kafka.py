"""Readers on a real Kafka and real stores: the route, progress and end offsets come from real topics."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vecferry
from confluent_kafka import Producer
from vecferry.config import load_config
from vecferry.errors import Inconclusive, Unavailable
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.journal.route import Route, between, route_key
from vecferry.local.kafka import Kafka, start_kafka, stop_kafka
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.clients import producer_config
from vecferry.log.kafka.control import ControlWriter
from vecferry.log.topics import COMPACTED_TOPIC, LIVE_TOPIC
from vecferry.pipeline import Pipeline
from vecferry.reads.session import Session
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken
from vecferry.schemas.topics import control_topic, events_topic, progress_topic
from vecferry.stores.registry import open_store
from waiting import wait_until

pytestmark = pytest.mark.server

NAME = "products"
VECTOR = np.array([1.0, 0.0, 0.0, 0.0], np.float32)


class Site:
    """One namespace with its topics and two LanceDB stores; plays publisher, workers and controller."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.namespace = f"reads-{uuid.uuid4().hex[:8]}"
        self.config = load_config(
            {
                "namespace": self.namespace,
                "kafka": {"bootstrap_servers": bootstrap},
                "stores": {name: {"kind": "lancedb", "uri": str(folder / name)} for name in ("old", "new")},
                "collections": {
                    NAME: {
                        "dimension": 4,
                        "metric": "cosine",
                        "space": {"model": "m", "version": "1"},
                        "partitions": 1,
                        "in": {name: {"table": "products"} for name in ("old", "new")},
                    }
                },
                "migrations": {NAME: {"from": "old", "to": "new"}},
            }
        )
        admin = Admin(self.config.kafka)
        admin.create_topic(events_topic(self.namespace, NAME), 1, LIVE_TOPIC)
        admin.create_topic(control_topic(self.namespace), 1, COMPACTED_TOPIC)
        admin.create_topic(progress_topic(self.namespace), 1, COMPACTED_TOPIC)
        self.stores = {name: self._open(name) for name in ("old", "new")}
        for store in self.stores.values():
            store.create(complete=True)
        self.producer = Producer(producer_config(self.config.kafka))
        self.controller = ControlWriter(self.config.kafka, self.namespace, NAME)
        self.written = 0
        self.generation = 0

    def _open(self, name: str) -> object:
        section = self.config.stores[name]
        collection, placement = self.config.collection(NAME), self.config.placement(NAME, name)
        return open_store(section.kind, section.options, collection, placement)

    def write(self) -> WriteToken:
        """Publish one more version of ``a``; the value on the topic does not matter to a reader."""
        self.producer.produce(events_topic(self.namespace, NAME), b"event", b"a", partition=0)
        assert self.producer.flush(30) == 0
        self.written += 1
        return WriteToken(events_topic(self.namespace, NAME), {0: encode_position(1, self.written - 1)})

    def apply(self, name: str) -> None:
        """What a worker does: rows and mark into the store, then the progress."""
        batch = EventBatch(
            ids=["a"],
            ops=np.array([Op.UPSERT], np.int8),
            partitions=np.zeros(1, np.int32),
            positions=np.array([encode_position(1, self.written - 1)], np.int64),
            vectors=VECTOR.reshape(1, 4),
            metadata=[b'{"v": %d}' % self.written],
        )
        self.stores[name].apply(batch, [LiveMark(partition=0, next_offset=self.written)])
        record = LiveProgress(next_offset=self.written, complete=True, beat_unix_s=0.0)
        key = live_progress_key(NAME, name, 0)
        self.producer.produce(progress_topic(self.namespace), record.encode(), key.encode(), partition=0)
        assert self.producer.flush(30) == 0

    def route(self, percent: int) -> None:
        self.generation += 1
        record = Route(generation=self.generation, weights=between("old", "new", percent), changed_unix_s=0.0)
        self.controller.write({route_key(NAME): record})


def version(reader: vecferry.Reader, **arguments: object) -> int:
    rows = reader.get(["a"], timeout=20.0, **arguments)  # type: ignore[arg-type]
    return int(str(rows[0].metadata["v"])) if rows else 0


@pytest.fixture
def site(kafka_bootstrap: str, tmp_path: Path) -> Site:
    return Site(kafka_bootstrap, tmp_path)


@pytest.fixture
def pipeline(site: Site) -> Iterator[Pipeline]:
    with vecferry.open(site.config) as opened:
        yield opened


def test_a_route_is_followed_forward_and_back_without_losing_sight_of_a_write(site: Site, pipeline: Pipeline) -> None:
    site.write()
    site.apply("old")
    reader, session = pipeline.reader(NAME), Session()
    assert version(reader, session=session) == 1
    site.route(100)
    wait_until(lambda: version(reader, session=session) == 1 and reader.stats.refused_moves > 0)
    assert reader.stats.reads.get("new", 0) == 0
    site.apply("new")
    wait_until(lambda: version(reader, session=session) == 1 and reader.stats.reads.get("new", 0) > 0)
    site.write()
    site.apply("new")
    site.apply("old")
    assert version(reader, session=session) == 2
    site.route(0)
    wait_until(lambda: version(reader, session=session) == 2 and reader.route.percent == 0)  # type: ignore[union-attr]
    assert reader.route == reader.known_route
    assert reader.stats.moves == 2


def test_after_waits_for_the_worker_of_the_routed_store(site: Site, pipeline: Pipeline) -> None:
    reader = pipeline.reader(NAME)
    token = site.write()
    with pytest.raises(Inconclusive, match="store 'old' has applied partition 0 up to offset 0, 1 records short"):
        reader.search(VECTOR, 3, after=token, timeout=6.0)
    site.apply("old")
    assert [hit.metadata for hit in reader.search(VECTOR, 3, after=token, timeout=20.0)] == [{"v": 1}]


def test_a_session_resumes_in_another_pipeline(site: Site, pipeline: Pipeline) -> None:
    site.write()
    site.apply("old")
    session = Session()
    assert version(pipeline.reader(NAME), session=session) == 1
    site.route(100)
    with vecferry.open(site.config) as other:
        reader = other.reader(NAME)
        assert version(reader) == 0  # nothing holds a reader back that has seen nothing
        resumed = Session.parse(str(session))
        assert version(reader, session=resumed) == 1
        site.apply("new")
        wait_until(lambda: version(reader, session=resumed) == 1 and set(resumed.stores(site_topic(site))) == {"new"})


def site_topic(site: Site) -> str:
    return events_topic(site.namespace, NAME)


def test_without_its_control_topic_a_namespace_is_said_not_to_be_there(kafka_bootstrap: str, site: Site) -> None:
    config = site.config.model_copy(update={"namespace": "nobody"})
    with vecferry.open(config) as pipeline, pytest.raises(Unavailable) as caught:
        pipeline.reader(NAME).get(["a"], timeout=10.0)
    assert "\n" not in str(caught.value)
    assert "vecferry enrol" in str(caught.value)


def test_a_view_of_the_control_topic_that_has_ended_is_replaced_and_the_route_followed(
    site: Site, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write()
    for store in ("old", "new"):
        site.apply(store)
    site.route(100)
    reader = pipeline.reader(NAME)

    def reads_at(percent: int) -> bool:
        return version(reader) == 1 and reader.route is not None and reader.route.percent == percent

    wait_until(lambda: reads_at(100))
    view, said = pipeline._readers()._views.control(1.0), list[object]()

    def is_absent(message: Any) -> bool:
        if said or message.topic() != control_topic(site.config.namespace):
            return False
        said.append(message)
        return True

    # A real broker says so only while it forgets the topic, which no request brings about in a set time.
    monkeypatch.setattr("vecferry.log.kafka.following._is_absent", is_absent)
    site.route(0)
    wait_until(lambda: view.ended, 30, "the view to end")
    site.route(50)  # which the ended view does not see any more
    wait_until(lambda: reads_at(50), 60, "the reader to follow the topic again")
    assert pipeline._readers()._views.control(1.0) is not view


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker of its own, so that no other test feels it."""
    name = f"hangs-{os.getpid()}"
    yield start_kafka(name)
    stop_kafka(name)


def test_an_updated_row_is_never_old_again_while_kafka_hangs(broker: Kafka, tmp_path: Path) -> None:
    site, session = Site(broker.bootstrap, tmp_path), Session()
    site.write()
    site.apply("old")
    site.apply("new")
    site.write()
    site.apply("old")
    with vecferry.open(site.config) as pipeline:
        reader = pipeline.reader(NAME)
        assert version(reader, session=session) == 2
        site.route(100)

        def stays(refused: int) -> bool:
            assert version(reader) == version(reader, session=session) == 2
            return reader.stats.refused_moves >= refused

        wait_until(lambda: stays(1), what="a move put off because the new store is behind")
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            refused = reader.stats.refused_moves
            wait_until(lambda: stays(refused + 2), what="moves put off because Kafka does not answer")
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        refused = reader.stats.refused_moves
        wait_until(lambda: stays(refused + 2), what="moves put off after it has come back")
        assert reader.route is not None
        assert reader.route.percent == 0
        site.apply("new")
        wait_until(lambda: stays(0) and reader.route.percent == 100, what="the move once the new store is there")
