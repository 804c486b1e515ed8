"""Preflight: what must be true of topics, groups and stores before anything moves. Pure checks over described values.

Each check is a gate result of its own, so that ``doctor`` lists what holds beside what does not, remedy included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..config import GatesSection
from ..errors import Inconclusive, Refused
from ..journal.collection import CollectionRecord
from ..journal.log_end import beyond_the_end, start_over
from ..log.port import Topic
from ..schemas.collection import Collection
from ..schemas.partitioner import murmur2
from ..stores.base import Capabilities
from ..wording import count, partitions
from .gates import GateResult, Verdict, decide
from .remedies import lost_events

_MS_PER_H = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Where one record of the live topic lies, and its key."""

    partition: int
    offset: int
    key: bytes | None


def refuse_unless_passed(checks: Sequence[GateResult]) -> None:
    """Raise Refused with one line per failed check, or Inconclusive with one per check that is not known."""
    for verdict, error in ((Verdict.FAIL, Refused), (Verdict.INCONCLUSIVE, Inconclusive)):
        if decide(checks) is verdict:
            lines = [check.line() for check in checks if check.verdict is verdict]
            raise error(lines) if error is Refused else error("\n".join(lines))


def live_topic_checks(
    topic: Topic | None, name: str, collection: Collection, limits: GatesSection
) -> tuple[GateResult, ...]:
    """The live topic exists, is not compacted, keeps events long enough, and has the configured partitions."""
    if topic is None:
        remedy = f"run `vecferry enrol {collection.name}`, or allow this user DESCRIBE on it if it is there"
        return (_check("live topic", f"{name} is missing", "exists", remedy),)
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config"
    policy = topic.settings.get("cleanup.policy", "delete")
    compacted = _check(
        "live topic",
        f"{name} has cleanup.policy={policy}",
        "cleanup.policy=delete",
        "" if policy == "delete" else f"compaction removes events that a copy needs: {alter} cleanup.policy=delete",
    )
    return (compacted, _retention(topic, limits, alter), _partitions(topic, collection))


def _retention(topic: Topic, limits: GatesSection, alter: str) -> GateResult:
    kept_ms = int(topic.settings.get("retention.ms", "-1"))
    kept_bytes = int(topic.settings.get("retention.bytes", "-1"))
    needed_ms = int(limits.min_retention_h * _MS_PER_H)
    measured = "for ever" if kept_ms < 0 else f"{kept_ms / _MS_PER_H:.1f} h"
    remedy = ""
    if 0 <= kept_ms < needed_ms:
        remedy = (
            f"{alter} retention.ms={needed_ms}, or lower gates.min_retention_h if a migration is sure to end sooner"
        )
    elif kept_bytes >= 0:
        measured, remedy = f"at most {kept_bytes} bytes per partition", f"{alter} retention.bytes=-1"
    return _check("topic retention", measured, f"{limits.min_retention_h:g} h, not bounded by bytes", remedy)


def _partitions(topic: Topic, collection: Collection) -> GateResult:
    remedy = ""
    if topic.partitions > collection.partitions:
        remedy = (
            f"if the count was raised, ids have changed partition: {start_over(collection.name)}; if it never was "
            f"another, set collections.{collection.name}.partitions = {topic.partitions}"
        )
    elif topic.partitions < collection.partitions:
        remedy = f"set collections.{collection.name}.partitions = {topic.partitions}; never raise the topic's count"
    return _check("partitions", f"the topic has {topic.partitions}", f"{collection.partitions}", remedy)


def table_topic_check(topic: Topic | None, name: str, collection: str) -> GateResult:
    """A topic that is read as a table has one partition and is compacted."""
    required = "1 partition, cleanup.policy=compact"
    if topic is None:
        return _check(name, "missing", required, f"run `vecferry enrol {collection}`")
    policy = topic.settings.get("cleanup.policy", "delete")
    remedy = ""
    if topic.partitions != 1:
        remedy = f"set another `namespace`, and run `vecferry enrol {collection}`, which makes its topics itself"
    elif policy != "compact":
        remedy = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config cleanup.policy=compact; "
            f"if it has lost records already, set another `namespace` and run `vecferry enrol {collection}`"
        )
    return _check(name, f"{count(topic.partitions, 'partition')}, cleanup.policy={policy}", required, remedy)


def topic_identity_check(record: CollectionRecord | None, name: str, topic_id: str) -> GateResult:
    """The live topic is the one that was enrolled, not a later one of the same name."""
    problem = "" if record is None else record.topic_problem(name, topic_id)
    return GateResult(
        name="topic identity",
        verdict=Verdict.FAIL if problem else Verdict.PASS,
        measured=problem or "the topic that was enrolled",
        required="the topic that was enrolled",
    )


def collection_checks(record: CollectionRecord | None, collection: Collection) -> tuple[GateResult, ...]:
    """The configuration says what the collection was enrolled with; its migration apart (``migration_check``)."""
    if record is None:
        remedy = f"run `vecferry enrol {collection.name}`"
        return (_check("enrolment", f"{collection.name} is not enrolled", "enrolled", remedy),)
    differences = record.differences(collection)
    if not differences:
        return (_check("enrolment", "as configured", "as configured"),)
    return tuple(
        _check(
            "enrolment",
            found.problem,
            "as configured",
            f"{found.remedy}, or enrol {'in another namespace' if found.key == 'epoch' else 'as another collection'}",
        )
        for found in differences
    )


def no_migration_check(collection: str) -> GateResult:
    """Without a migration there is nothing to enrol: no store is named."""
    remedy = f"add [migrations.{collection}] with from and to, then run `vecferry enrol {collection}`"
    return _check("migration", f"no [migrations.{collection}] in the configuration", "named", remedy)


def model_checks(record: CollectionRecord | None, collection: Collection) -> tuple[GateResult, ...]:
    """That the model was compared: () where the journal names it. A release before this one did not write it there."""
    if record is None or record.space_model:
        return ()
    return (
        GateResult(
            name="embedding model",
            verdict=Verdict.INCONCLUSIVE,
            measured="the journal does not name it",
            required=f"{collection.space.model} {collection.space.version}",
            remedy=f"run `vecferry enrol {collection.name}`, which writes it there",
        ),
    )


def migration_check(record: CollectionRecord | None, collection: str, stores: tuple[str, str]) -> GateResult:
    """The collection moves between the stores that it was enrolled for."""
    if record is None or record.stores == stores:
        return _check("migration", " to ".join(stores), "as enrolled")
    old, new = record.stores
    what = f"enrolled to move from {old} to {new}, the configuration says from {' to '.join(stores)}"
    remedy = f'set migrations.{collection} to {{from = "{old}", to = "{new}"}}'
    if stores[0] == old:
        remedy += f", or run `vecferry enrol {collection}` to move to {stores[1]} instead"
    elif stores[0] == new:
        remedy += f", or, once all reads are on {new}, run `vecferry enrol {collection}` to move on to {stores[1]}"
    return _check("migration", what, "as enrolled", remedy)


def partitioner_check(samples: Sequence[Sample], partitions: int) -> GateResult:
    """Each sampled record lies in the partition of its key, as the Java partitioner computes it."""
    required = "every key in its murmur2 partition"
    keyed = [(sample, sample.key) for sample in samples if sample.key is not None]
    foreign = "publish only through vecferry's Publisher, or set partitioner=murmur2_random in that client"
    for sample in samples:
        if sample.key is None:
            where = f"the record at partition {sample.partition}, offset {sample.offset} has no key"
            return _check("partitioner", where, required, foreign)
    # The bytes as they lie there: a foreign client's key may not even be text.
    expected = (murmur2([key for _, key in keyed]) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    for (sample, _), wanted in zip(keyed, expected, strict=True):
        if sample.partition != wanted:
            where = (
                f"the record at partition {sample.partition}, offset {sample.offset} belongs to partition {wanted}: "
                "a client with another partitioner wrote it"
            )
            return _check("partitioner", where, required, f"{foreign}; then enrol into a new topic")
    return _check("partitioner", f"{len(samples)} newest records checked", required)


def group_check(
    store: str, committed: Mapping[int, int], begin: Sequence[int], collection: Collection, *, is_source: bool
) -> GateResult:
    """The store's group has an offset in every partition, and the topic still holds it."""
    name, required = f"group of {store}", "a committed offset in every partition, still in the topic"
    missing = [partition for partition in range(collection.partitions) if partition not in committed]
    if missing:
        where = f"no committed offset in {partitions(missing)}"
        return _check(name, where, required, f"run `vecferry enrol {collection.name}`")
    for partition, first in enumerate(begin):
        if committed[partition] < first:
            where = f"partition {partition}: next offset {committed[partition]}, the topic begins at {first}"
            return _check(name, where, required, lost_events(collection.name, is_source=is_source))
    return _check(name, count(len(begin), "partition"), required)


def log_end_checks(
    store: str, reached: Mapping[int, int], ends: Sequence[int], collection: Collection, topic: str
) -> tuple[GateResult, ...]:
    """Nothing was applied, or committed, beyond the end of the live topic; () where that is so."""
    failure = beyond_the_end(collection.name, topic, f"store {store} has applied", reached, ends)
    if failure is None:
        return ()
    required = "every store at or below the end of the topic"
    return (_check("log end", failure.problem, required, failure.remedy),)


def store_checks(
    store: str,
    problems: Sequence[str],
    capabilities: Capabilities | None,
    collection: Collection,
    remarks: Sequence[str] = (),
) -> tuple[GateResult, ...]:
    """The store answers and can hold the collection; its guarantee is printed. A check per problem and remark."""
    name, required = f"store {store}", "reachable, can hold the collection"
    if problems:
        return tuple(
            GateResult(name=name, verdict=Verdict.FAIL, measured=problem, required=required) for problem in problems
        )
    known = (_check(f"remark on {store}", remark, "known") for remark in remarks)
    return (_able(name, required, capabilities, collection), *known)


def _able(name: str, required: str, capabilities: Capabilities | None, collection: Collection) -> GateResult:
    if capabilities is None:
        return GateResult(name=name, verdict=Verdict.INCONCLUSIVE, measured="not known", required=required)
    if collection.space.metric not in capabilities.metrics:
        known = ", ".join(sorted(capabilities.metrics))
        return _check(name, f"has no metric {collection.space.metric}", required, f"use one of {known}")
    if collection.id_type not in capabilities.id_types:
        known = ", ".join(sorted(capabilities.id_types))
        return _check(name, f"has no id type {collection.id_type}", required, f"use one of {known}")
    facts = (f"guarantee {capabilities.guarantee.value}", capabilities.no_index(collection.space.dimension))
    return _check(name, "; ".join(fact for fact in facts if fact), required)


def _check(name: str, measured: str, required: str, remedy: str = "") -> GateResult:
    """A check that fails exactly when it has a remedy."""
    verdict = Verdict.FAIL if remedy else Verdict.PASS
    return GateResult(name=name, verdict=verdict, measured=measured, required=required, remedy=remedy)
