"""``enrol``: make the topics, prepare both stores, fix where their groups begin, and journal that it was done.

The target is prepared here too, because a group may begin only in a store that can note it, and both groups must begin
before the first publish: a group that begins later would miss what a copy's fence relies on.

Idempotent: each step looks at what is there, so a killed enrolment is simply run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from ..backfill.context import Context, StoreOpener, make_context, opened, store_opener
from ..backfill.groups import begin_group, foreign_traces
from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..errors import Refused
from ..executor import Daemon, Threads
from ..failpoints import hit
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.run import group_key
from ..log.port import Log, Topic
from ..log.topics import COMPACTED_TOPIC, DEAD_LETTER_TOPIC, LIVE_TOPIC
from ..schemas.collection import Collection
from ..schemas.fields import RowFields
from ..schemas.topics import control_topic, dlq_topic, events_topic, group_id, progress_topic
from ..wording import partitions
from .enrolled import journal, refuse_another
from .preflight import live_topic_checks, refuse_unless_passed, store_checks, table_topic_check
from .sampling import sampled_partitioner_check
from .topic_settings import record_time_checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What enrolling does, or has done.

    topics, groups   names; the topics that existed before are left out
    statements       store -> what is left for it to run, in order
    remarks          store -> what is worth knowing, though it stands in nobody's way
    """

    collection: str
    source: str
    target: str
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    statements: Mapping[str, tuple[str, ...]]
    remarks: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    name: str
    partitions: int
    settings: Mapping[str, str]


def enrol(
    config: Config,
    name: str,
    log: Log,
    *,
    dry_run: bool = False,
    open_store: StoreOpener | None = None,
    clock: Clock = SYSTEM_CLOCK,
    threads: Threads = Daemon,
) -> Enrolment:
    """Enrol ``name`` and its migration; with ``dry_run`` only say what would be done.

    ``open_store`` takes the place of the configured stores. Blocks while the stores run their statements.
    Raises Refused with one line per problem, ConfigError, Unavailable.
    """
    collection = config.collection(name)
    migration = config.migration(name)
    open_named = open_store or store_opener(config, name)
    admin = log.admin
    wanted = _topics(config, collection)
    present = admin.topics([topic.name for topic in wanted])
    _refuse_topics(config, collection, present, log)
    stores = (migration.source, migration.target)
    begun, known = _look_back(config, collection, stores, log, present)
    if known is not None and migration.source == known.target:
        _refuse_incomplete(open_named, collection, known)
    planned = Enrolment(
        collection=name,
        source=migration.source,
        target=migration.target,
        topics=tuple(topic.name for topic in wanted if topic.name not in present),
        groups=tuple(group_id(config.namespace, name, store) for store in stores),
        statements={
            store: _prepare(
                open_named, store, collection, complete=store == migration.source and known is None, dry_run=True
            )
            for store in stores
        },
        remarks={store: _remarks(open_named, store, collection) for store in stores},
    )
    _refuse_foreign(open_named, collection, stores, begun)
    if dry_run:
        return planned
    for topic in wanted:
        admin.create_topic(topic.name, topic.partitions, topic.settings)
    hit("enrol.topics-made")
    with make_context(config, name, log, open_store=open_store, clock=clock) as context:
        context.control.sync()
        command = f"enrol {name}"
        with Lease(config, name, context.control, log, command=command, clock=clock, threads=threads) as lease:
            columns = _carry_out(context, lease)
            journal(lease, context.control, collection, stores, admin.topic_id(context.events), clock, columns)
    return planned


def owner_statements(
    config: Config, name: str, log: Log, *, open_store: StoreOpener | None = None
) -> Mapping[str, tuple[str, ...]]:
    """Store -> what the owner of its table runs, after which ``enrol`` needs no right to change it; changes nothing.

    Blocks while the stores look at their rows. Raises Refused with one line per problem, ConfigError, Unavailable.
    """
    collection, migration = config.collection(name), config.migration(name)
    open_named, stores = open_store or store_opener(config, name), (migration.source, migration.target)
    present = log.admin.topics([topic.name for topic in _topics(config, collection)])
    _, known = _look_back(config, collection, stores, log, present)
    found = {}
    for store in stores:
        with opened(open_named, store) as handle:
            found[store] = handle.owner_statements(complete=store == migration.source and known is None)
    return found


def _look_back(
    config: Config,
    collection: Collection,
    stores: tuple[str, str],
    log: Log,
    topics: Mapping[str, Topic],
) -> tuple[frozenset[str], MigrationRecord | None]:
    """The stores whose groups have begun, and the migration so far. Raises Refused when that cannot become this one."""
    control, events = control_topic(config.namespace), events_topic(config.namespace, collection.name)
    if control not in topics:
        return frozenset(), None
    with closing(log.table(control)) as table:
        table.sync()
        refuse_another(table, collection, stores, events, log.admin.topic_id(events) if events in topics else "")
        prefix = group_key(collection.name, "")
        begun = frozenset(key.removeprefix(prefix) for key in table.items(prefix))
        return begun, require(table, migration_key(collection.name), MigrationRecord)


def _refuse_incomplete(open_named: StoreOpener, collection: Collection, known: MigrationRecord) -> None:
    """The store that a migration moves on from must say itself that it is a full copy."""
    with opened(open_named, known.target) as store:
        lacking = sorted(set(range(collection.partitions)) - store.applied().complete)
    if lacking:
        raise Refused(
            f"store {known.target} is no full copy in {partitions(lacking)}; set migrations.{collection.name} back to "
            f'{{from = "{known.source}", to = "{known.target}"}} and copy anew with '
            f"`vecferry start {collection.name} --new-run` before it moves on"
        )


def _refuse_foreign(
    open_named: StoreOpener, collection: Collection, stores: tuple[str, str], begun: frozenset[str]
) -> None:
    """Before anything is changed: a refusal must not leave another migration's table called complete."""
    found = []
    for name in stores:
        if name not in begun:
            with opened(open_named, name) as store:
                found.append(foreign_traces(name, store, collection, source=name == stores[0]))
    if traces := [line for line in found if line]:
        raise Refused(traces)


def _carry_out(context: Context, lease: Lease) -> dict[str, RowFields]:
    """Prepare the stores (source first) and begin their groups. Returns the columns of each."""
    collection, stores = context.collection, (context.source, context.target)
    refuse_another(context.control, collection, stores, context.events, context.log.admin.topic_id(context.events))
    # A source is a full copy by definition, but only once: enrolled again with its table lost, it is none.
    enrolled = context.control.get(migration_key(context.name)) is not None
    columns: dict[str, RowFields] = {}
    for store in stores:
        complete = store == context.source and not enrolled
        _prepare(context.open_store, store, collection, complete=complete, dry_run=False)
        hit("enrol.store-prepared")
        _begin(context, lease, store)
        hit("enrol.group-begun")
        with opened(context.open_store, store) as handle:
            columns[store] = handle.fields()
    return columns


def _topics(config: Config, collection: Collection) -> tuple[_Wanted, ...]:
    namespace, name = config.namespace, collection.name
    tables = (control_topic(namespace), progress_topic(namespace))
    live = _Wanted(name=events_topic(namespace, name), partitions=collection.partitions, settings=LIVE_TOPIC)
    letters = _Wanted(name=dlq_topic(namespace, name), partitions=1, settings=DEAD_LETTER_TOPIC)
    return (live, *(_Wanted(name=table, partitions=1, settings=COMPACTED_TOPIC) for table in tables), letters)


def _refuse_topics(config: Config, collection: Collection, present: Mapping[str, Topic], log: Log) -> None:
    """Topics that exist already must be what we would have made, and events must lie where we would have put them."""
    events = events_topic(config.namespace, collection.name)
    checks = [table_topic_check(topic, name, collection.name) for name, topic in present.items() if name != events]
    if events in present:
        checks += live_topic_checks(present[events], events, collection, config.gates)
    if present:
        checks += record_time_checks(list(present.values()), log.address)
    if checks:
        refuse_unless_passed(checks)
    if events in present:
        check = sampled_partitioner_check(log, events, collection.partitions)
        refuse_unless_passed([check])


def _prepare(
    open_named: StoreOpener, name: str, collection: Collection, *, complete: bool, dry_run: bool
) -> tuple[str, ...]:
    with opened(open_named, name) as store:
        refuse_unless_passed(store_checks(name, store.check(), store.capabilities, collection))
        return store.create(complete=complete, dry_run=dry_run)


def _remarks(open_named: StoreOpener, name: str, collection: Collection) -> tuple[str, ...]:
    with opened(open_named, name) as store:
        return (*filter(None, [store.capabilities.no_index(collection.space.dimension)]), *store.remarks())


def _begin(context: Context, lease: Lease, store_name: str) -> None:
    """Let the store's group begin at the topic's first offsets, which must still be there."""
    begin = context.log.admin.offsets(context.events, context.collection.partitions).begin
    removed = [partition for partition, first in enumerate(begin) if first > 0]
    # A target that comes later begins where the topic does now: it gets what lies before from a copy, whose fences say
    # whether that is enough. Of the source's rows nothing is known but that every event is applied to them.
    is_source = store_name == context.source
    if removed and is_source and context.control.get(group_key(context.name, store_name)) is None:
        raise Refused(
            f"topic {context.events} has lost its first events in {partitions(removed)} before the group of "
            f"{store_name} began; take another namespace, and enrol there before the first publish"
        )
    with opened(context.open_store, store_name) as store:
        begin_group(context, lease.writer, store_name, store, begin)
