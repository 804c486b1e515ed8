"""What every verb works with: one collection's configuration, its topics as tables, the stores, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..executor import OneThread, Threads
from ..log.port import Log, Sender, Table, Writer
from ..replicas import open_replica
from ..schemas.collection import Collection
from ..schemas.topics import control_topic, dlq_topic, events_topic, progress_topic
from ..stores.base import Store

StoreOpener = Callable[[str], Store]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One collection that moves from ``source`` to ``target``. ``letters``: its dead-letter topic.

    ``threads`` makes what runs beside a copy.
    """

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
    threads: Threads = OneThread

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
        for table in (self.control, self.progress, self.letters):
            table.sync()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """What a run reads from and writes to.

    ``source`` must be opened for this run alone: the copy uses it from a thread of its own. ``sender`` is a bulk one.
    """

    context: Context
    source: Store
    writer: Writer
    sender: Sender


def store_opener(config: Config, collection: str) -> StoreOpener:
    """A function that opens the replica of a given name of ``collection``; the caller closes it."""

    return lambda replica: open_replica(config, collection, replica)


@contextmanager
def opened(open_named: StoreOpener, store: str) -> Iterator[Store]:
    """The store called ``store``, closed on leaving."""
    with closing(open_named(store)) as handle:
        yield handle


def table_topics(namespace: str, collection: str) -> tuple[str, str, str]:
    """The topics that are read as tables: control, progress, dead letters."""
    return control_topic(namespace), progress_topic(namespace), dlq_topic(namespace, collection)


@contextmanager
def make_context(
    config: Config,
    collection: str,
    log: Log,
    *,
    open_store: StoreOpener | None = None,
    clock: Clock = SYSTEM_CLOCK,
    threads: Threads = OneThread,
) -> Iterator[Context]:
    """The context of a collection whose topics exist; the tables are not read yet, and closed on leaving.

    ``open_store`` takes the place of the configured stores. Raises ConfigError.
    """
    migration = config.migration(collection)
    with ExitStack() as stack:
        topics = table_topics(config.namespace, collection)
        control, progress, letters = (stack.enter_context(closing(log.table(topic))) for topic in topics)
        yield Context(
            config=config,
            collection=config.collection(collection),
            source=migration.source,
            target=migration.target,
            log=log,
            control=control,
            progress=progress,
            letters=letters,
            open_store=open_store or store_opener(config, collection),
            clock=clock,
            threads=threads,
        )
