"""A table that another migration, or a topic that is gone, has written to: refused, and safe in a raised epoch.

Real Kafka, PostgreSQL and LanceDB. Without the refusals each of these ends in an acknowledged write that no store has.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
import vecferry
from confluent_kafka.admin import AdminClient
from migration_rig import log_of
from vecferry.backfill.context import opened, store_opener
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import Config, load_config
from vecferry.consumers.service import run_worker
from vecferry.errors import Refused
from vecferry.local.postgres import create_database
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.clients import admin_config
from vecferry.log.topics import LIVE_TOPIC
from vecferry.migration.context import open_context
from vecferry.migration.doctor import examine
from vecferry.migration.enrol import enrol
from vecferry.migration.gates import Verdict
from vecferry.schemas.topics import control_topic, events_topic
from waiting import wait_until

pytestmark = pytest.mark.server

NAME = "products"
PARTITIONS = 2


@dataclass(slots=True)
class Application:
    """One table that is enrolled again and again, each time as ``config`` says."""

    kafka: str
    url: str
    lance: Path
    namespace: str = field(default_factory=lambda: f"f{uuid.uuid4().hex[:10]}")
    epoch: int = 1
    source: str = "old"
    target: str = "new"

    @property
    def config(self) -> Config:
        return load_config(
            {
                "namespace": self.namespace,
                "kafka": {"bootstrap_servers": self.kafka, "client": {"session.timeout.ms": 6000}},
                "stores": {
                    "old": {"kind": "pgvector", "url": self.url},
                    "new": {"kind": "lancedb", "uri": str(self.lance)},
                },
                "collections": {
                    NAME: {
                        "dimension": 3,
                        "metric": "l2",
                        "space": {"model": "m", "version": "1"},
                        "partitions": PARTITIONS,
                        "epoch": self.epoch,
                        "in": {"old": {"table": NAME}, "new": {"table": NAME}},
                    }
                },
                "migrations": {NAME: {"from": self.source, "to": self.target}},
            }
        )

    @property
    def events(self) -> str:
        return events_topic(self.namespace, NAME)

    @contextmanager
    def working(self, store: str = "old") -> Iterator[None]:
        """A running worker; raises what it raised."""
        stop, failures = threading.Event(), []

        def work() -> None:
            try:
                run_worker(self.config, store, [NAME], SYSTEM_CLOCK, stop)
            except BaseException as error:  # noqa: BLE001  raised below, in the test's thread
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
        if failures:
            raise failures[0]

    def publish(self, rows: dict[str, float]) -> None:
        """Acknowledged writes."""
        with vecferry.open(self.config) as pipeline, pipeline.publisher(NAME) as publisher:
            deliveries = [publisher.upsert(id_, np.full(3, value, np.float32)) for id_, value in rows.items()]
            for delivery in deliveries:
                delivery.result(timeout=30)

    def value(self, id_: str, store: str = "old") -> float | None:
        """What the store holds of an id."""
        with opened(store_opener(self.config, NAME), store) as handle:
            rows = handle.fetch([id_])
        return float(rows.vectors[0][0]) if len(rows) and not rows.deleted[0] else None

    def marks(self, store: str = "old") -> dict[int, int]:
        with opened(store_opener(self.config, NAME), store) as handle:
            return dict(handle.applied().live)

    def enrol(self, *, dry_run: bool = False) -> None:
        with log_of(self.config) as log:
            enrol(self.config, NAME, log, dry_run=dry_run)

    def delete_topics(self, *names: str) -> None:
        admin, client = Admin(self.config.kafka), AdminClient(admin_config(self.config.kafka))
        for future in client.delete_topics(list(names)).values():
            future.result()
        wait_until(lambda: not admin.topics(names))

    def make_topic_anew(self) -> None:
        self.delete_topics(self.events)
        Admin(self.config.kafka).create_topic(self.events, PARTITIONS, LIVE_TOPIC)


@pytest.fixture
def application(kafka_bootstrap: str, postgres_url: str, tmp_path: Path) -> Application:
    """Enrolled once, with 40 applied events of the ids k0 to k39."""
    url = create_database(postgres_url, f"foreign_{uuid.uuid4().hex[:12]}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"CREATE TABLE {NAME} (id text PRIMARY KEY, vector vector(3) NOT NULL, metadata jsonb)")
    made = Application(kafka=kafka_bootstrap, url=url, lance=tmp_path / "lance")
    made.enrol()
    with made.working():
        made.publish({f"k{n}": 1.0 for n in range(40)})
        wait_until(lambda: sum(made.marks().values()) == 40)
    return made


def forget_marks(url: str) -> None:
    """Someone cleaned up, but only half: the rows keep their positions."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE {NAME}_vecferry_partitions, {NAME}_vecferry_snapshots, {NAME}_vecferry_deleted")


@pytest.mark.parametrize("cleaned", [False, True])
def test_a_table_of_another_namespace_is_refused_until_the_epoch_is_raised(
    application: Application, cleaned: bool
) -> None:
    if cleaned:
        forget_marks(application.url)
    application.namespace = f"f{uuid.uuid4().hex[:10]}"
    for dry_run in (True, False):
        with pytest.raises(Refused, match=f"store old carries .* collections.{NAME}.epoch = 2"):
            application.enrol(dry_run=dry_run)
    assert Admin(application.config.kafka).topics([application.events]) == {}
    application.epoch = 2
    application.enrol()
    application.publish({"k7": 2.0})
    with application.working():
        wait_until(lambda: application.value("k7") == 2.0)
    application.enrol()  # a second time the store is no longer foreign
    with application.working("new"):
        wait_until(lambda: application.value("k7", "new") == 2.0)


def test_a_refusal_does_not_call_the_table_of_another_migration_complete(application: Application) -> None:
    with application.working("new"):
        wait_until(lambda: sum(application.marks("new").values()) == 40)
    turned = replace(application, namespace=f"f{uuid.uuid4().hex[:10]}", source="new", target="old")
    with pytest.raises(Refused, match="store new carries"):
        turned.enrol()
    with opened(store_opener(application.config, NAME), "new") as store:
        assert store.applied().complete == frozenset()


def test_a_topic_made_anew_is_refused_by_the_worker_and_by_every_command(application: Application) -> None:
    application.make_topic_anew()
    with pytest.raises(Refused, match="deleted and made anew"):
        application.publish({f"k{n}": 3.0 for n in range(40)})
    with pytest.raises(Refused, match="deleted and made anew"):
        application.enrol()
    with (
        log_of(application.config) as log,
        pytest.raises(Refused, match="deleted and made anew"),
        open_context(application.config, NAME, log),
    ):
        pass
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(run_worker, application.config, "old", [NAME], SYSTEM_CLOCK, stop)
        try:
            with pytest.raises(Refused, match="deleted and made anew"):
                worker.result(timeout=40)
        finally:
            stop.set()
    with log_of(application.config) as log:
        checks = examine(application.config, NAME, log)
    failed = [check.measured for check in checks if check.verdict is Verdict.FAIL]
    assert any("deleted and made anew" in line and "epoch = 2" in line for line in failed)


def test_all_topics_made_anew_are_refused_for_the_positions_that_are_there(application: Application) -> None:
    application.delete_topics(application.events, control_topic(application.namespace))
    with pytest.raises(Refused, match=f"store old carries rows .* collections.{NAME}.epoch = 2"):
        application.enrol()
