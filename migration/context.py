"""What every verb works with: one collection's configuration, its topics as tables, the stores, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..errors import Refused
from ..journal.collection import CollectionRecord, collection_key
from ..journal.reading import require
from ..log.kafka.log import KafkaLog
from ..log.port import Admin, Log, Table
from ..schemas.collection import Collection
from ..schemas.topics import control_topic, dlq_topic, events_topic, progress_topic
from ..stores.base import Store
from ..stores.registry import open_store as open_registered
from .gates import GateResult, Verdict
from .preflight import collection_checks, live_topic_checks, migration_check, topic_identity_check

StoreOpener = Callable[[str], Store]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One enrolled collection that moves from ``source`` to ``target``. ``letters``: its dead-letter topic."""

    config: Config
    collection: Collection
    source: str
    target: str
    log: Log
    control: Table
    progress: Table
    letters: Table
    open_store: StoreOpener
    clock: Clock

    @property
    def admin(self) -> Admin:
        """Topics, offsets and groups."""
        return self.log.admin

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.collection.name

    @property
    def events(self) -> str:
        """The live topic's name."""
        return events_topic(self.config.namespace, self.name)

    def sync(self) -> None:
        """Block until the tables show everything that is in their topics now; raises Unavailable."""
        for view in (self.control, self.progress, self.letters):
            view.sync()


def store_opener(config: Config, collection: str) -> StoreOpener:
    """A function that opens ``collection`` as it lies in the store of a given name; the caller closes it."""

    def open_named(store: str) -> Store:
        section = config.stores[store]
        placement = config.placement(collection, store)
        return open_registered(section.kind, section.options, config.collection(collection), placement)

    return open_named


@contextmanager
def opened(open_named: StoreOpener, store: str) -> Iterator[Store]:
    """The store called ``store``, closed on leaving."""
    with closing(open_named(store)) as handle:
        yield handle


@contextmanager
def open_context(
    config: Config,
    collection: str,
    *,
    checked: bool = True,
    open_store: StoreOpener | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[Context]:
    """The context of an enrolled collection, its tables read to their end.

    ``open_store`` takes the place of the configured stores; without ``checked`` it is left to the caller to ask for
    ``require_as_enrolled``. Blocks while the tables are read. Raises ConfigError, Unavailable, or Refused when the
    collection is not enrolled or no longer is what was enrolled: each line with its remedy.
    """
    described = config.collection(collection)
    migration = config.migration(collection)
    events = events_topic(config.namespace, collection)
    tables = (
        control_topic(config.namespace),
        progress_topic(config.namespace),
        dlq_topic(config.namespace, collection),
    )
    with ExitStack() as stack:
        log = stack.enter_context(closing(KafkaLog(config.kafka, clock=clock)))
        _require_topics(log.admin, collection, (events, *tables))
        views = [stack.enter_context(closing(log.table(topic))) for topic in tables]
        context = Context(
            config=config,
            collection=described,
            source=migration.source,
            target=migration.target,
            log=log,
            control=views[0],
            progress=views[1],
            letters=views[2],
            open_store=open_store or store_opener(config, collection),
            clock=clock,
        )
        context.sync()
        if checked:
            require_as_enrolled(context)
        yield context


def _require_topics(admin: Admin, collection: str, names: Sequence[str]) -> None:
    missing = sorted(set(names) - set(admin.topics(names)))
    if missing:
        raise Refused(
            f"collection {collection!r} is not enrolled (missing: {', '.join(missing)}); "
            f"run `vecferry enrol {collection}`"
        )


def require_as_enrolled(context: Context) -> None:
    """Raise Refused, one line per problem, when the topic or the configuration changed under the collection.

    Asked once more under the lease: another controller may have enrolled it anew in between. Blocks for two requests.
    """
    problems = (*_problems_of_configuration(context), *_problems_of_topic(context))
    if problems:
        raise Refused(problems)


def require_source_as_enrolled(context: Context) -> tuple[str, ...]:
    """Raise Refused when reads cannot go back to the source as configured; other problems are returned, a line each.

    What is wrong with the live topic, or with the target, is no reason to stay on the target. Blocks for two requests.
    """
    record = require(context.control, collection_key(context.name), CollectionRecord)
    problems = _problems_of_configuration(context)
    if record is None or record.stores[0] != context.source or _failed(collection_checks(record, context.collection)):
        raise Refused(problems)
    return (*problems, *_problems_of_topic(context))


def _problems_of_configuration(context: Context) -> tuple[str, ...]:
    record = require(context.control, collection_key(context.name), CollectionRecord)
    stores = (context.source, context.target)
    return _failed((*collection_checks(record, context.collection), migration_check(record, context.name, stores)))


def _problems_of_topic(context: Context) -> tuple[str, ...]:
    topic = context.admin.topics([context.events]).get(context.events)
    record = require(context.control, collection_key(context.name), CollectionRecord)
    checks = (
        *live_topic_checks(topic, context.events, context.collection, context.config.gates),
        topic_identity_check(record, context.events, context.admin.topic_id(context.events)),
    )
    return _failed(checks)


def _failed(checks: Sequence[GateResult]) -> tuple[str, ...]:
    return tuple(check.line() for check in checks if check.verdict is not Verdict.PASS)
