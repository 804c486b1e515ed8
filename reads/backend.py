"""What all readers of a pipeline share: the views of Kafka, and per collection the store handles and the progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..clock import Clock
from ..config import Config
from ..errors import ConfigError
from ..forks import Home
from ..journal.topic_watch import TopicWatch
from ..log.port import Log, Table
from ..replicas import open_replica
from ..schemas.collection import Collection
from ..schemas.topics import dlq_topic, events_topic
from ..stores.base import Store
from .async_reader import AsyncReader
from .enrolled import Enrolled
from .letters import DeadLetters
from .pool import StorePool
from .reader import Reader
from .route import Split, whole
from .router import Router
from .stats import Counters
from .views import SharedViews
from .watermarks import Watermarks

_WARM_UP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    collection: Collection
    topic: str
    pool: StorePool
    progress: Watermarks
    letters: DeadLetters
    enrolled: Enrolled


class Backend:
    """Makes readers; thread-safe. Connects to nothing before a reader reads."""

    def __init__(self, config: Config, log: Log, watch: TopicWatch, *, clock: Clock) -> None:
        self._config = config
        self._log = log
        self._watch = watch
        self._clock = clock
        self._views = SharedViews(log, config.namespace, clock=clock)
        self._lock = threading.Lock()
        self._shared: dict[str, _Shared] = {}
        self._home = Home("this pipeline", self)

    def reader(self, name: str) -> Reader:
        """A reader of the collection called ``name``, not yet opened; raises ConfigError."""
        shared = self._share(name)
        counters = Counters()
        migration = self._config.migrations.get(name)
        ends = frozenset() if migration is None else frozenset({migration.source, migration.target})

        def prepare(stores: Iterable[str]) -> None:
            for store in ends.union(stores):
                shared.pool.prepare(store)

        router = Router(
            collection=name,
            control=lambda timeout_s: shared.enrolled.compared(self._views.control(timeout_s)),
            without_record=lambda: split_without_record(self._config, name),
            progress=shared.progress,
            connect=shared.pool.open,
            prepare=prepare,
            counters=counters,
            clock=self._clock,
        )
        return Reader(
            collection=shared.collection,
            topic=shared.topic,
            router=router,
            progress=shared.progress,
            letters=shared.letters,
            pool=shared.pool,
            counters=counters,
            clock=self._clock,
            fields=lambda replica: self._config.placement(name, replica).fields,
            distrust=shared.enrolled.problem,
        )

    def async_reader(self, name: str, *, max_reads: int) -> AsyncReader:
        """The same for asyncio, in ``max_reads`` threads, being opened in the background."""
        return AsyncReader(self.reader(name), clock=self._clock, max_reads=max_reads)

    def close(self) -> None:
        """Close every handle and view; idempotent."""
        if self._home.left:
            return
        with self._lock:
            opened = list(self._shared.values())
        for shared in opened:
            shared.pool.close()
            shared.letters.close()
        self._views.close()

    def _share(self, name: str) -> _Shared:
        collection = self._config.collection(name)
        topic = events_topic(self._config.namespace, name)

        def open_named(replica: str) -> Store:
            store = open_replica(self._config, name, replica)
            try:
                progress.admit(replica, store)
            except BaseException:
                store.close()
                raise
            return store

        def end_offsets(timeout_s: float) -> tuple[int, ...]:
            return self._log.admin.end_offsets(topic, collection.partitions, stable=True, timeout_s=timeout_s)

        def open_letters() -> Table | None:
            topic = dlq_topic(self._config.namespace, name)
            # First: to ask for an absent topic by its name may create it.
            return self._log.table(topic) if self._log.admin.topics([topic]) else None

        self._home.check()
        with self._lock:
            if name not in self._shared:
                pool = StorePool(open_named, warm_up=_warm_up(collection))
                progress = Watermarks(
                    collection=collection,
                    table=self._views.progress,
                    end_offsets=end_offsets,
                    pool=pool,
                    clock=self._clock,
                )
                letters = DeadLetters(
                    collection=name, topic=topic, progress=self._views.progress, open_table=open_letters, pool=pool
                )
                self._shared[name] = _Shared(
                    collection=collection,
                    topic=topic,
                    pool=pool,
                    progress=progress,
                    letters=letters,
                    enrolled=Enrolled(collection, self._watch),
                )
            return self._shared[name]


def _warm_up(collection: Collection) -> Callable[[Store], None]:
    """One read of each kind: it connects, reads the layout, and brings the index into memory."""
    vector = np.zeros(collection.space.dimension, np.float32)
    vector[0] = 1.0

    def warm_up(store: Store) -> None:
        store.search(vector, 1, (), _WARM_UP_S)
        store.fetch(["0"])

    return warm_up


def split_without_record(config: Config, name: str) -> Split:
    """How a collection is read that has no route record: from its migration's source, else from its only store."""
    if name in config.migrations:
        return whole(config.migration(name).source)
    stores = tuple(config.collections[name].placements)
    if len(stores) > 1:
        raise ConfigError(
            f"collection {name!r} lies in {', '.join(stores)} and nothing says which one to read; "
            f"add [migrations.{name}] with from and to"
        )
    return whole(stores[0])
