"""Enrolment: topics, stores, groups and the journal; run again it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import vecferry
from migration_rig import NAME, PARTITIONS, Rig, log_of, settings
from vecferry.config import Config, load_config
from vecferry.errors import Refused, Unavailable
from vecferry.journal.collection import CollectionRecord, collection_key
from vecferry.journal.enrolled import enrolled_fields
from vecferry.journal.migration import MigrationRecord, migration_key
from vecferry.journal.reading import require
from vecferry.journal.route import Route, between, route_key
from vecferry.journal.run import GroupRecord, group_key
from vecferry.log.kafka.tables import KafkaTable
from vecferry.log.port import Table
from vecferry.log.topics import COMPACTED_TOPIC, DEAD_LETTER_TOPIC, LIVE_TOPIC
from vecferry.migration.context import open_context
from vecferry.migration.enrol import enrol
from vecferry.schemas.fields import Field, RowFields
from vecferry.schemas.topics import control_topic, dlq_topic, group_id, progress_topic
from waiting import wait_until

pytestmark = pytest.mark.server


def test_enrolment_makes_topics_groups_and_records(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=3)
    rig.enrol()
    namespace = rig.config.namespace
    tables = (control_topic(namespace), progress_topic(namespace), dlq_topic(namespace, NAME))
    topics = rig.admin.topics([rig.events, *tables])
    assert topics[rig.events].partitions == PARTITIONS
    assert topics[rig.events].settings["cleanup.policy"] == "delete"
    for table in tables:
        assert topics[table].partitions == 1
        assert topics[table].settings["cleanup.policy"] == "compact"
    letters = topics[dlq_topic(rig.config.namespace, NAME)]
    assert letters.settings["max.message.bytes"] == DEAD_LETTER_TOPIC["max.message.bytes"]
    assert rig.stores["old"].applied().complete == frozenset(range(PARTITIONS))
    assert rig.stores["new"].applied().complete == frozenset()
    for store in ("old", "new"):
        committed = rig.admin.committed(group_id(namespace, NAME, store), rig.events, PARTITIONS)
        assert committed == dict.fromkeys(range(PARTITIONS), 0)
    with rig.context() as context:
        group = require(context.control, group_key(NAME, "new"), GroupRecord)
        assert group is not None
        assert group.live_start == (0,) * PARTITIONS
        collection = require(context.control, collection_key(NAME), CollectionRecord)
        assert collection is not None
        assert (collection.partitions, collection.stores) == (PARTITIONS, ("old", "new"))
        assert (collection.space_model, collection.space_version) == ("m", "1")
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert migration is not None
        assert migration.step == "enrolled"
        route = require(context.control, route_key(NAME), Route)
        assert route is not None
        assert (route.generation, route.weights) == (1, {"old": 100, "new": 0})


def test_a_dry_run_shows_the_statements_and_changes_nothing(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=3)
    with log_of(rig.config) as log:
        planned = enrol(rig.config, NAME, log, dry_run=True, open_store=rig.stores.__getitem__)
    assert planned.statements == {"old": ("create",), "new": ("create",)}
    assert rig.events in planned.topics
    assert rig.admin.topics([*planned.topics]) == {}
    assert rig.stores["old"].live == {}


def test_enrolling_again_keeps_the_journal_and_never_calls_a_source_complete_twice(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=3)
    rig.enrol()
    with rig.steering() as (context, lease):
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert migration is not None
        lease.write({migration_key(NAME): migration.model_copy(update={"step": "copying", "run": "r1"})})
    rig.stores["old"].complete.clear()  # the table was lost, and would be made anew and empty
    rig.enrol()
    assert rig.stores["old"].complete == set()
    with rig.context() as context:
        after = require(context.control, migration_key(NAME), MigrationRecord)
        assert after is not None
        assert (after.step, after.run) == ("copying", "r1")


def test_a_topic_that_exists_must_fit(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.admin.create_topic(rig.events, PARTITIONS + 1, {**LIVE_TOPIC, "cleanup.policy": "compact"})
    wait_until(lambda: rig.admin.topics([rig.events]))  # the broker lists it a moment later
    with pytest.raises(Refused) as refused:
        rig.enrol()
    text = str(refused.value)
    assert "cleanup.policy=delete" in text
    assert f"the topic has {PARTITIONS + 1}" in text
    assert control_topic(rig.config.namespace) not in rig.admin.topics([control_topic(rig.config.namespace)])


def test_a_control_topic_that_is_not_a_table_is_refused(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    topic = control_topic(rig.config.namespace)
    rig.admin.create_topic(topic, 2, COMPACTED_TOPIC)
    wait_until(lambda: rig.admin.topics([topic]))
    with pytest.raises(Refused, match="2 partitions"):
        rig.enrol()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_source_cannot_be_exchanged(kafka_bootstrap: str, dry_run: bool) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    rig.move("third", "new")
    with pytest.raises(Refused, match=r"already moving from old to new.*another namespace"), log_of(rig.config) as log:
        enrol(rig.config, NAME, log, dry_run=dry_run, open_store=rig.stores.__getitem__)


@pytest.mark.parametrize(
    ("step", "percent", "remedy"), [("indexed", 5, "vecferry rollback"), ("copying", 0, "vecferry cancel")]
)
def test_a_target_in_use_cannot_be_exchanged_yet(kafka_bootstrap: str, step: str, percent: int, remedy: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.steering() as (context, lease):
        route, migration = require(context.control, route_key(NAME), Route), migration_record(context.control)
        assert route is not None
        lease.write(
            {
                route_key(NAME): route.model_copy(update={"weights": between("old", "new", percent)}),
                migration_key(NAME): migration.model_copy(update={"step": step, "run": "r1"}),
            }
        )
    rig.move("old", "third")
    with pytest.raises(Refused, match=f'set migrations.*to = "new".*`{remedy} {NAME}`'):
        rig.enrol()
    with (
        pytest.raises(Refused, match=f"configuration says from old to third; .*`vecferry enrol {NAME}`"),
        rig.context(),
    ):
        raise AssertionError("opened")


def migration_record(table: Table) -> MigrationRecord:
    record = require(table, migration_key(NAME), MigrationRecord)
    assert record is not None
    return record


def changed(rig: Rig, key: str, value: object) -> Config:
    """The configuration of ``rig`` with another value for ``key`` of its collection."""
    data = settings(rig.config.kafka.bootstrap_servers, rig.config.namespace)
    collections: dict[str, Any] = data["collections"]  # type: ignore[assignment]
    section, _, rest = key.rpartition(".")
    (collections[NAME][section] if section else collections[NAME])[rest] = value
    return load_config(data)


CHANGES = [
    ("partitions", PARTITIONS + 1),
    ("epoch", 2),
    ("metric", "l2"),
    ("dimension", 8),
    ("space.model", "n"),
    ("space.version", "2"),
]


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_a_configuration_that_changed_under_the_collection_is_refused(
    kafka_bootstrap: str, key: str, value: object
) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    other, problem = changed(rig, key, value), f"collections.{NAME}.{key}"
    with log_of(other) as log:
        with pytest.raises(Refused, match=problem), open_context(other, NAME, log):
            raise AssertionError("opened")
        with pytest.raises(Refused, match=problem):
            enrol(other, NAME, log, dry_run=True, open_store=rig.stores.__getitem__)
    with vecferry.open(other) as pipeline, pytest.raises(Refused, match=r"has 3 partitions|" + problem):
        pipeline.publisher(NAME)


def test_a_publisher_that_cannot_read_the_journal_says_so_and_publishes(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()

    def denied(table: KafkaTable, timeout_s: float = 0.0) -> None:
        raise Unavailable("TOPIC_AUTHORIZATION_FAILED")

    monkeypatch.setattr(KafkaTable, "sync", denied)
    with vecferry.open(rig.config) as pipeline, pipeline.publisher(NAME) as publisher:
        publisher.delete("a").result(timeout=30)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "vecferry.pipeline"]
    assert said == f"{NAME}: what it was enrolled with is not known: TOPIC_AUTHORIZATION_FAILED"


def test_a_collection_that_an_earlier_release_enrolled_gets_its_space_when_it_is_enrolled_again(
    kafka_bootstrap: str,
) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.steering() as (context, lease):
        record = require(context.control, collection_key(NAME), CollectionRecord)
        assert record is not None
        lease.write({collection_key(NAME): record.model_copy(update={"space_model": "", "space_version": ""})})
    other = changed(rig, "space.model", "n")
    with log_of(other) as log, open_context(other, NAME, log, open_store=rig.stores.__getitem__):
        pass  # nobody can know that it is another one
    rig.enrol()
    with log_of(other) as log, pytest.raises(Refused, match=r"space\.model m,"), open_context(other, NAME, log):
        raise AssertionError("opened")


def test_each_enrolment_notes_the_columns_as_they_are_then(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()  # as an earlier release, it finds none to note
    for length in (5, 20):
        columns = RowFields(metadata={"title": Field(kind="text", declared=f"varchar({length})", length=length)})
        rig.stores["old"].columns = columns
        rig.enrol()
        with rig.context() as context:
            assert enrolled_fields(context.control, NAME) == {"old": columns, "new": RowFields()}


def test_a_raised_partition_count_is_refused(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    rig.raise_partitions(PARTITIONS + 2)
    with pytest.raises(Refused, match="if the count was raised"), rig.context():
        raise AssertionError("opened")


def test_what_is_not_enrolled_says_so(kafka_bootstrap: str) -> None:
    with pytest.raises(Refused, match=f"run `vecferry enrol {NAME}`"), Rig(kafka_bootstrap).context():
        raise AssertionError("opened")
