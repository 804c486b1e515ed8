"""``doctor``: run every preflight check of a collection and say what holds, what does not, and what to do about it."""

from __future__ import annotations

from contextlib import closing

from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..errors import ConfigError, StoreError, Unavailable
from ..kafka.admin import Admin, Topic
from ..kafka.view import CompactedView
from ..schemas.control import CollectionRecord, collection_key
from ..schemas.topics import control_topic, dlq_topic, events_topic, group_id, progress_topic
from .context import StoreOpener, opened, store_opener
from .gates import GateResult, Verdict
from .preflight import (
    collection_checks,
    group_check,
    live_topic_checks,
    partitioner_check,
    store_check,
    table_topic_check,
)
from .sampling import newest_records
from .state import read

_SAMPLES_PER_PARTITION = 200


def examine(
    config: Config, name: str, *, open_store: StoreOpener | None = None, clock: Clock = SYSTEM_CLOCK
) -> tuple[GateResult, ...]:
    """Every check of the collection ``name``. A server that does not answer is a failed check, not an error.

    ``open_store`` takes the place of the configured stores. Blocks for a few requests to Kafka and to
    each store. Changes nothing. Raises ConfigError.
    """
    config.collection(name)
    open_named = open_store or store_opener(config, name)
    try:
        kafka = _kafka_checks(config, name, clock)
    except Unavailable as error:
        kafka = [GateResult(name="kafka", verdict=Verdict.FAIL, measured=str(error), required="answers")]
    stores = [_store(config, name, store, open_named) for store in config.collections[name].placements]
    return (*kafka, *stores)


def _kafka_checks(config: Config, name: str, clock: Clock) -> list[GateResult]:
    collection = config.collection(name)
    events = events_topic(config.namespace, name)
    tables = (control_topic(config.namespace), progress_topic(config.namespace), dlq_topic(config.namespace, name))
    admin = Admin(config.kafka)
    topics = admin.topics([events, *tables])
    checks = [
        *live_topic_checks(topics.get(events), events, collection, config.gates),
        *(table_topic_check(topics.get(table), table) for table in tables),
        *collection_checks(_record(config, name, topics, clock), collection),
    ]
    if events in topics:
        offsets = admin.offsets(events, topics[events].partitions)
        samples = newest_records(config.kafka, events, offsets, _SAMPLES_PER_PARTITION, clock)
        checks.append(partitioner_check(samples, topics[events].partitions))
    # With another number of partitions than configured, the groups' offsets mean nothing; that check has failed above.
    if events in topics and topics[events].partitions == collection.partitions:
        for store in _fed_stores(config, name):
            committed = admin.committed(group_id(config.namespace, name, store), events, collection.partitions)
            checks.append(group_check(store, committed, offsets.begin, collection))
    return checks


def _fed_stores(config: Config, name: str) -> tuple[str, ...]:
    migration = config.migrations.get(name)
    return () if migration is None else (migration.source, migration.target)


def _record(config: Config, name: str, topics: dict[str, Topic], clock: Clock) -> CollectionRecord | None:
    control = control_topic(config.namespace)
    if control not in topics:
        return None
    with closing(CompactedView(config.kafka, control, clock=clock)) as view:
        view.sync()
        return read(view, collection_key(name), CollectionRecord)


def _store(config: Config, name: str, store: str, open_named: StoreOpener) -> GateResult:
    try:
        with opened(open_named, store) as handle:
            return store_check(store, handle.check(), handle.capabilities, config.collection(name))
    except (Unavailable, ConfigError, StoreError) as error:
        return store_check(store, [str(error)], None, config.collection(name))
