"""``doctor``: run every preflight check of a collection and say what holds, what does not, and what to do about it."""

from __future__ import annotations

import itertools
from contextlib import closing

from ..backfill.context import StoreOpener, opened, store_opener
from ..config import Config
from ..errors import ConfigError, StoreError, Unavailable
from ..journal.collection import CollectionRecord, collection_key
from ..journal.reading import require
from ..journal.run import run_key
from ..log.port import Log, Topic
from ..schemas.topics import control_topic, dlq_topic, events_topic, group_id, progress_topic, snapshot_topic
from .gates import GateResult, Verdict
from .preflight import (
    collection_checks,
    group_check,
    live_topic_checks,
    log_end_checks,
    migration_check,
    model_checks,
    no_migration_check,
    store_checks,
    table_topic_check,
    topic_identity_check,
)
from .sampling import sampled_partitioner_check
from .topic_settings import record_size_check, record_time_checks


def examine(config: Config, name: str, log: Log, *, open_store: StoreOpener | None = None) -> tuple[GateResult, ...]:
    """Every check of the collection ``name``. A server that does not answer is a failed check, not an error.

    ``open_store`` takes the place of the configured stores. Blocks for a few requests to Kafka and to
    each store. Changes nothing. Raises ConfigError.
    """
    config.collection(name)
    open_named = open_store or store_opener(config, name)
    try:
        kafka, readable = _kafka_checks(config, name, log)
    except Unavailable as error:
        kafka = [GateResult(name="kafka", verdict=Verdict.FAIL, measured=str(error), required="answers")]
        readable = False
    stores = (
        _store(config, name, store, open_named, log if readable else None)
        for store in config.collections[name].placements
    )
    return (*kafka, *itertools.chain.from_iterable(stores))


def _kafka_checks(config: Config, name: str, log: Log) -> tuple[list[GateResult], bool]:
    """The checks, and whether the live topic is there with the partitions that are configured."""
    collection = config.collection(name)
    events = events_topic(config.namespace, name)
    tables = (control_topic(config.namespace), progress_topic(config.namespace), dlq_topic(config.namespace, name))
    admin = log.admin
    topics = admin.topics([events, *tables])
    record, runs = _journaled(config, name, topics, log)
    snapshots = admin.topics([snapshot_topic(config.namespace, name, run) for run in runs])
    checks = [
        *live_topic_checks(topics.get(events), events, collection, config.gates),
        *(table_topic_check(topics.get(table), table, name) for table in tables),
        *collection_checks(record, collection),
        *model_checks(record, collection),
    ]
    if name not in config.migrations and record is None:
        checks.append(no_migration_check(name))
    elif name in config.migrations and record is not None:
        checks.append(migration_check(record, name, _fed_stores(config, name)))
    if topics:
        checks += record_time_checks([*topics.values(), *snapshots.values()], log.address)
    if events in topics:
        checks.append(record_size_check(topics[events], collection, log.address))
        checks.append(topic_identity_check(record, events, admin.topic_id(events)))
        checks.append(sampled_partitioner_check(log, events, topics[events].partitions))
    # With another number of partitions than configured, the groups' offsets mean nothing; that check has failed above.
    readable = events in topics and topics[events].partitions == collection.partitions
    if readable:
        begin = admin.offsets(events, collection.partitions).begin
        for store in _fed_stores(config, name) if name in config.migrations else ():
            committed = admin.committed(group_id(config.namespace, name, store), events, collection.partitions)
            is_source = store == config.migrations[name].source
            checks.append(group_check(store, committed, begin, collection, is_source=is_source))
            ends = admin.end_offsets(events, collection.partitions)
            checks += log_end_checks(store, committed, ends, collection, events)
    return checks, readable


def _fed_stores(config: Config, name: str) -> tuple[str, str]:
    migration = config.migration(name)
    return migration.source, migration.target


def _journaled(
    config: Config, name: str, topics: dict[str, Topic], log: Log
) -> tuple[CollectionRecord | None, tuple[str, ...]]:
    """What the collection was enrolled with, and the names of its runs."""
    control = control_topic(config.namespace)
    if control not in topics:
        return None, ()
    with closing(log.table(control)) as table:
        table.sync()
        prefix = run_key(name)
        runs = tuple(sorted(key.removeprefix(prefix) for key in table.items(prefix)))
        return require(table, collection_key(name), CollectionRecord), runs


def _store(config: Config, name: str, store: str, open_named: StoreOpener, log: Log | None) -> tuple[GateResult, ...]:
    collection, events = config.collection(name), events_topic(config.namespace, name)
    try:
        with opened(open_named, store) as handle:
            problems = handle.check()
            remarks = () if problems else handle.remarks()
            checks = store_checks(store, problems, handle.capabilities, collection, remarks)
            if problems or log is None:
                return checks
            applied = handle.applied().live
            ends = log.admin.end_offsets(events, collection.partitions)
            return (*checks, *log_end_checks(store, applied, ends, collection, events))
    except (Unavailable, ConfigError, StoreError) as error:
        return store_checks(store, [str(error)], None, config.collection(name))
