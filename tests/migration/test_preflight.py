"""Preflight: every refusal, each with its remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vecferry.config import GatesSection
from vecferry.errors import Inconclusive, Refused
from vecferry.journal.collection import CollectionRecord
from vecferry.log.port import Topic
from vecferry.migration.gates import GateResult, Verdict
from vecferry.migration.preflight import (
    Sample,
    collection_checks,
    group_check,
    live_topic_checks,
    log_end_checks,
    model_checks,
    partitioner_check,
    refuse_unless_passed,
    store_checks,
    table_topic_check,
)
from vecferry.migration.topic_settings import record_size_check, record_time_checks
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.filters import Operator
from vecferry.schemas.partitioner import partitions_of
from vecferry.stores.base import Capabilities, Guarantee

COLLECTION = Collection(
    name="products", space=Space(model="m", version="1", dimension=4, metric="cosine"), partitions=8
)
LIMITS = GatesSection(min_retention_h=24)
DAY_MS = 24 * 3_600_000
ENROLLED = CollectionRecord(
    epoch=1,
    partitions=8,
    dimension=4,
    metric="cosine",
    id_type="text",
    space_model="m",
    space_version="1",
    stores=("old", "new"),
)
CAPABLE = Capabilities(
    guarantee=Guarantee.ATOMIC,
    id_types=frozenset({"text"}),
    metrics=frozenset({"cosine"}),
    filters=frozenset(Operator),
)


def live_topic(partitions: int = 8, **settings: str) -> Topic:
    defaults = {"cleanup.policy": "delete", "retention.ms": str(DAY_MS), "retention.bytes": "-1"}
    changed = {key.replace("_", "."): value for key, value in settings.items()}
    return Topic(name="shop.products.events", partitions=partitions, settings={**defaults, **changed})


def failures(checks: tuple[GateResult, ...]) -> list[str]:
    assert all(bool(check.remedy) == (check.verdict is Verdict.FAIL) for check in checks)
    return [check.line() for check in checks if check.verdict is Verdict.FAIL]


def test_a_sound_live_topic_passes() -> None:
    assert failures(live_topic_checks(live_topic(), "shop.products.events", COLLECTION, LIMITS)) == []
    forever = live_topic(retention_ms="-1")
    assert failures(live_topic_checks(forever, "shop.products.events", COLLECTION, LIMITS)) == []


@pytest.mark.parametrize(
    ("topic", "problem", "remedy"),
    [
        (None, "is missing", "vecferry enrol products"),
        (live_topic(cleanup_policy="compact"), "cleanup.policy=compact", "--add-config cleanup.policy=delete"),
        (live_topic(cleanup_policy="compact,delete"), "compact,delete", "--add-config cleanup.policy=delete"),
        (live_topic(retention_ms=str(DAY_MS // 2)), "12.0 h", f"--add-config retention.ms={DAY_MS}"),
        (live_topic(retention_bytes="1000000"), "1000000 bytes", "--add-config retention.bytes=-1"),
        (live_topic(12), "the topic has 12", "if the count was raised"),
        (live_topic(4), "the topic has 4", "set collections.products.partitions = 4"),
    ],
)
def test_a_live_topic_that_cannot_work_is_refused(topic: Topic | None, problem: str, remedy: str) -> None:
    lines = failures(live_topic_checks(topic, "shop.products.events", COLLECTION, LIMITS))
    assert len(lines) == 1
    assert problem in lines[0]
    assert remedy in lines[0]


def test_a_table_topic_has_one_partition_and_is_compacted() -> None:
    good = Topic(name="shop.control", partitions=1, settings={"cleanup.policy": "compact"})
    assert table_topic_check(good, "shop.control", "products").verdict is Verdict.PASS
    for bad in (None, replace(good, partitions=2), replace(good, settings={"cleanup.policy": "delete"})):
        check = table_topic_check(bad, "shop.control", "products")
        assert check.verdict is Verdict.FAIL
        assert check.remedy


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"epoch": 2}, "enrolled with epoch 2, the configuration says 1"),
        ({"partitions": 4}, "enrolled with partitions 4, the configuration says 8"),
        ({"dimension": 8}, "enrolled with dimension 8"),
        ({"metric": "l2"}, "enrolled with metric l2"),
        ({"id_type": "uuid"}, "enrolled with id_type uuid"),
        ({"space_model": "n"}, "enrolled with space.model n, the configuration says m"),
        ({"space_version": "2"}, "enrolled with space.version 2, the configuration says 1"),
    ],
)
def test_a_configuration_that_left_what_was_enrolled_is_refused(update: dict[str, object], problem: str) -> None:
    lines = failures(collection_checks(ENROLLED.model_copy(update=update), COLLECTION))
    assert len(lines) == 1
    assert problem in lines[0]
    assert "set collections.products." in lines[0]


def test_enrolment_as_configured_passes_and_none_is_refused() -> None:
    assert failures(collection_checks(ENROLLED, COLLECTION)) == []
    earlier = ENROLLED.model_copy(update={"space_model": "", "space_version": ""})  # a release that did not keep them
    assert failures(collection_checks(earlier, COLLECTION)) == []
    assert "vecferry enrol products" in failures(collection_checks(None, COLLECTION))[0]


def test_a_foreign_partitioner_is_found_by_where_a_key_lies() -> None:
    ids = [f"id-{number}" for number in range(50)]
    where = partitions_of(ids, 8)
    samples = [
        Sample(partition=int(partition), offset=offset, key=id_.encode())
        for offset, (id_, partition) in enumerate(zip(ids, where, strict=True))
    ]
    assert partitioner_check(samples, 8).verdict is Verdict.PASS
    assert partitioner_check([], 8).verdict is Verdict.PASS
    foreign = Sample(partition=(int(where[3]) + 1) % 8, offset=77, key=b"id-3")
    check = partitioner_check([*samples, foreign], 8)
    assert check.verdict is Verdict.FAIL
    assert f"partition {foreign.partition}, offset 77" in check.measured
    assert "murmur2_random" in check.remedy


def test_a_key_that_is_missing_or_no_text_is_still_judged() -> None:
    keyless = partitioner_check([Sample(partition=2, offset=5, key=None)], 8)
    assert keyless.verdict is Verdict.FAIL
    assert "partition 2, offset 5 has no key" in keyless.measured
    verdicts = {
        partitioner_check([Sample(partition=partition, offset=0, key=b"\xff\xfe\x00")], 8).verdict
        for partition in range(8)
    }
    assert verdicts == {Verdict.PASS, Verdict.FAIL}


def test_a_group_needs_an_offset_in_every_partition_that_is_still_in_the_topic() -> None:
    two = replace(COLLECTION, partitions=2)
    assert group_check("new", {0: 5, 1: 0}, (5, 0), two, is_source=False).verdict is Verdict.PASS
    missing = group_check("new", {0: 5}, (0, 0), two, is_source=False)
    assert missing.verdict is Verdict.FAIL
    assert "no committed offset in partition 1" in missing.measured
    for is_source, remedy in ((False, "set migrations.products.to"), (True, "set another `namespace`, raise")):
        overtaken = group_check("new", {0: 5, 1: 0}, (6, 0), two, is_source=is_source)
        assert overtaken.verdict is Verdict.FAIL
        assert "the topic begins at 6" in overtaken.measured
        assert remedy in overtaken.remedy


def test_a_store_prints_its_guarantee_or_what_is_in_the_way() -> None:
    assert [check.measured for check in store_checks("new", (), CAPABLE, COLLECTION)] == ["guarantee atomic"]
    problems = ("column title is NOT NULL: give it a default", "the table has a trigger: drop it")
    assert [check.measured for check in store_checks("new", problems, CAPABLE, COLLECTION)] == list(problems)
    refused = store_checks("new", problems, CAPABLE, COLLECTION)[0]
    assert refused.verdict is Verdict.FAIL
    assert "give it a default" in refused.line()
    for changed in (replace(CAPABLE, metrics=frozenset({"l2"})), replace(CAPABLE, id_types=frozenset({"uuid"}))):
        (check,) = store_checks("new", (), changed, COLLECTION)
        assert check.verdict is Verdict.FAIL
        assert "use one of" in check.remedy
    assert store_checks("new", (), None, COLLECTION)[0].verdict is Verdict.INCONCLUSIVE


def test_failures_come_before_what_is_not_known() -> None:
    passed = GateResult(name="a", verdict=Verdict.PASS, measured="m", required="r")
    unknown = replace(passed, name="b", verdict=Verdict.INCONCLUSIVE)
    failed = replace(passed, name="c", verdict=Verdict.FAIL, remedy="do this")
    refuse_unless_passed([passed])
    with pytest.raises(Inconclusive, match="b: m"):
        refuse_unless_passed([passed, unknown])
    with pytest.raises(Refused) as refused:
        refuse_unless_passed([unknown, failed])
    assert refused.value.problems == ("c: m; do this",)


def test_a_dimension_that_no_index_holds_is_said() -> None:
    bounded = replace(CAPABLE, max_index_dimension=2_000)
    wide = replace(COLLECTION, space=replace(COLLECTION.space, dimension=3_072))
    (check,) = store_checks("old", (), bounded, wide)
    assert check.verdict is Verdict.PASS
    assert "no index is possible: it holds at most 2000 dimensions, these vectors have 3072" in check.measured
    for capable, collection in ((bounded, COLLECTION), (CAPABLE, wide)):
        assert store_checks("old", (), capable, collection)[0].measured == "guarantee atomic"


def test_a_remark_is_shown_and_refuses_nothing() -> None:
    (able, remark) = store_checks("old", (), CAPABLE, COLLECTION, ("2 rows without a vector stay as they are",))
    assert (able.verdict, remark.verdict) == (Verdict.PASS, Verdict.PASS)
    assert remark.measured == "2 rows without a vector stay as they are"


def test_no_remedy_deletes_a_topic() -> None:
    for topic in (
        Topic(name="shop.control", partitions=1, settings={"cleanup.policy": "delete"}),
        Topic(name="shop.control", partitions=2, settings={"cleanup.policy": "compact"}),
    ):
        check = table_topic_check(topic, "shop.control", "products")
        assert check.verdict is Verdict.FAIL
        assert "delete topic" not in check.remedy


def test_record_times_that_a_producers_clock_decides_are_named_topic_by_topic_with_the_command() -> None:
    right = Topic(name="shop.control", partitions=1, settings={"message.timestamp.type": "LogAppendTime"})
    wrong = [Topic(name=f"shop.{n}", partitions=1, settings={"message.timestamp.type": "CreateTime"}) for n in "ab"]
    (passed,) = record_time_checks([right], "here:9092")
    assert passed.verdict is Verdict.PASS
    lines = failures(record_time_checks([right, *wrong], "here:9092"))
    assert len(lines) == 2
    assert lines[1].endswith(
        "kafka-configs.sh --bootstrap-server here:9092 --alter --entity-type topics --entity-name shop.b "
        "--add-config message.timestamp.type=LogAppendTime"
    )


@pytest.mark.parametrize(("limit", "fits"), [("262144", True), ("2500", False), ("1048588", True)])
def test_a_live_topic_that_takes_no_event_is_refused(limit: str, fits: bool) -> None:
    topic = live_topic(max_message_bytes=limit)
    check = record_size_check(topic, replace(COLLECTION, space=replace(COLLECTION.space, dimension=384)), "here:9092")
    assert (check.verdict is Verdict.PASS) is fits
    assert f"{int(limit) - 1024} bytes" in check.measured
    assert ("--add-config max.message.bytes=" in check.remedy) is not fits


def test_what_was_applied_beyond_the_end_of_the_log_is_refused_with_a_new_epoch() -> None:
    assert log_end_checks("old", {0: 5, 1: 3}, (5, 3), COLLECTION, "shop.products.events") == ()
    (line,) = failures(log_end_checks("old", {0: 5, 1: 4}, (5, 3), COLLECTION, "shop.products.events"))
    assert "shop.products.events [1] up to offset 4, and the topic ends at 3" in line
    assert "raise collections.products.epoch by one" in line


def test_a_model_that_was_not_compared_is_not_called_as_configured() -> None:
    assert model_checks(ENROLLED, COLLECTION) == ()
    (check,) = model_checks(ENROLLED.model_copy(update={"space_model": "", "space_version": ""}), COLLECTION)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "vecferry enrol products" in check.remedy
