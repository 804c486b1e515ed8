"""``doctor``: run every preflight check of a collection and say what holds, what does not, and what to do about it."""

from __future__ import annotations

import itertools
from contextlib import closing

from ..backfill.context import StoreOpener, opened, store_opener
from ..config import Config
from ..errors import ConfigError, StoreError, Unavailable
from ..journal.collection import CollectionRecord, collection_key
from ..journal.reading import require
from ..log.port import Log, Topic
from ..schemas.topics import control_topic, dlq_topic, events_topic, group_id, progress_topic
from .gates import GateResult, Verdict
from .preflight import (
    collection_checks,
    group_check,
    live_topic_checks,
    migration_check,
    store_checks,
    table_topic_check,
    topic_identity_check,
)
from .sampling import sampled_partitioner_check


def examine(config: Config, name: str, log: Log, *, open_store: StoreOpener | None = None) -> tuple[GateResult, ...]:
    """Every check of the collection ``name``. A server that does not answer is a failed check, not an error.

    ``open_store`` takes the place of the configured stores. Blocks for a few requests to Kafka and to
    each store. Changes nothing. Raises ConfigError.
    """
    config.collection(name)
    open_named = open_store or store_opener(config, name)
    try:
        kafka = _kafka_checks(config, name, log)
    except Unavailable as error:
        kafka = [GateResult(name="kafka", verdict=Verdict.FAIL, measured=str(error), required="answers")]
    stores = (_store(config, name, store, open_named) for store in config.collections[name].placements)
    return (*kafka, *itertools.chain.from_iterable(stores))


def _kafka_checks(config: Config, name: str, log: Log) -> list[GateResult]:
    collection = config.collection(name)
    events = events_topic(config.namespace, name)
    tables = (control_topic(config.namespace), progress_topic(config.namespace), dlq_topic(config.namespace, name))
    admin = log.admin
    topics = admin.topics([events, *tables])
    record = _record(config, name, topics, log)
    checks = [
        *live_topic_checks(topics.get(events), events, collection, config.gates),
        *(table_topic_check(topics.get(table), table, name) for table in tables),
        *collection_checks(record, collection),
    ]
    if name in config.migrations and record is not None:
        checks.append(migration_check(record, name, _fed_stores(config, name)))
    if events in topics:
        checks.append(topic_identity_check(record, events, admin.topic_id(events)))
        checks.append(sampled_partitioner_check(log, events, topics[events].partitions))
    # With another number of partitions than configured, the groups' offsets mean nothing; that check has failed above.
    if events in topics and topics[events].partitions == collection.partitions:
        begin = admin.offsets(events, collection.partitions).begin
        for store in _fed_stores(config, name) if name in config.migrations else ():
            committed = admin.committed(group_id(config.namespace, name, store), events, collection.partitions)
            is_source = store == config.migrations[name].source
            checks.append(group_check(store, committed, begin, collection, is_source=is_source))
    return checks


def _fed_stores(config: Config, name: str) -> tuple[str, str]:
    migration = config.migration(name)
    return migration.source, migration.target


def _record(config: Config, name: str, topics: dict[str, Topic], log: Log) -> CollectionRecord | None:
    control = control_topic(config.namespace)
    if control not in topics:
        return None
    with closing(log.table(control)) as table:
        table.sync()
        return require(table, collection_key(name), CollectionRecord)


def _store(config: Config, name: str, store: str, open_named: StoreOpener) -> tuple[GateResult, ...]:
    try:
        with opened(open_named, store) as handle:
            problems, remarks = handle.check(), handle.remarks()
            return store_checks(store, problems, handle.capabilities, config.collection(name), remarks)
    except (Unavailable, ConfigError, StoreError) as error:
        return store_checks(store, [str(error)], None, config.collection(name))
