"""A small world for readers: a log, two stores that apply it, and the tables that Kafka would hold."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
from memory_store import MemoryStore
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import Unavailable
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.journal.route import Route, between, route_key
from vecferry.log.port import Table
from vecferry.reads.letters import DeadLetters
from vecferry.reads.pool import StorePool
from vecferry.reads.reader import Reader
from vecferry.reads.route import Split, bucket_of, whole
from vecferry.reads.router import Router
from vecferry.reads.stats import Counters
from vecferry.reads.watermarks import Watermarks
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken
from vecferry.stores.base import Store
from waiting import wait_until

TOPIC = "shop.products.events"
COLLECTION = Collection(
    name="products", space=Space(model="m", version="1", dimension=2, metric="dot"), partitions=2, epoch=1
)


class FakeTable:
    """A compacted topic as a dict. With ``ended`` it behaves as a view whose client has failed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._values: dict[str, bytes] = {}
        self.ended = False

    def get(self, key: str) -> bytes | None:
        with self._changed:
            return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def sync(self, timeout_s: float) -> None:
        del timeout_s  # what was put is there

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        if self.ended:
            raise Unavailable("the view has ended")
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)


class World:
    """Writes go to ``log``; ``apply`` lets a store follow. Every row has the metadata ``{"v": version}``."""

    def __init__(self) -> None:
        self.control = FakeTable()
        self.progress = FakeTable()
        self.letters: Table | None = None
        self.lock = threading.Lock()
        self.log: list[list[tuple[str, int]]] = [[] for _ in range(COLLECTION.partitions)]
        self.before: dict[str, Callable[[str], None]] = {}
        self.stores = {name: MemoryStore(COLLECTION, self._hook(name)) for name in ("old", "new")}
        for store in self.stores.values():
            store.create(complete=True)
        self.kafka_away = False
        self.publishes_progress = True
        self.generation = 0
        self.end_requests = 0
        self.pool = StorePool(self.open_store)
        self.shared = self.make_progress()

    def _hook(self, name: str) -> Callable[[str], None]:
        return lambda method: self.before.get(name, lambda _: None)(method)

    def open_store(self, name: str) -> Store:
        self.shared.admit(name, self.stores[name])
        return self.stores[name]

    def write(self, id_: str, version: int, partition: int = 0) -> WriteToken:
        with self.lock:
            self.log[partition].append((id_, version))
            offset = len(self.log[partition]) - 1
        return WriteToken(TOPIC, {partition: encode_position(COLLECTION.epoch, offset)})

    def ends(self, timeout_s: float) -> tuple[int, ...]:
        self.end_requests += 1
        if self.kafka_away:
            raise Unavailable("Kafka at nowhere does not answer")
        with self.lock:
            return tuple(len(entries) for entries in self.log)

    def apply(self, name: str, up_to: Mapping[int, int] | None = None) -> None:
        """Let store ``name`` apply the log (``up_to`` the next offset per partition) and report its progress."""
        store = self.stores[name]
        for partition in range(COLLECTION.partitions):
            with self.lock:
                done = store.live[partition]
                end = len(self.log[partition]) if up_to is None else up_to.get(partition, done)
                newest = {
                    id_: (offset, version)
                    for offset, (id_, version) in enumerate(self.log[partition][done:end], start=done)
                }
            if newest:
                store.apply(_batch(partition, newest), [LiveMark(partition=partition, next_offset=end)])
        self.report(name)

    def report(self, name: str) -> None:
        if not self.publishes_progress:
            return
        for partition, next_offset in self.stores[name].applied().live.items():
            record = LiveProgress(next_offset=next_offset, complete=True, beat_unix_s=0.0)
            self.progress.put(live_progress_key(COLLECTION.name, name, partition), record.encode())

    def route(self, percent: int, *, old: str = "old", new: str = "new") -> None:
        self.generation += 1
        record = Route(generation=self.generation, weights=between(old, new, percent), changed_unix_s=0.0)
        self.control.put(route_key(COLLECTION.name), record.encode())

    def make_progress(self) -> Watermarks:
        return Watermarks(
            collection=COLLECTION,
            table=lambda: self.progress,
            end_offsets=self.ends,
            pool=self.pool,
            clock=SYSTEM_CLOCK,
        )

    def reader(
        self, *, progress: Watermarks | None = None, barrier_s: float = 2.0, without_record: Split | None = None
    ) -> Reader:
        counters = Counters()
        shared = progress or self.shared
        router = Router(
            collection=COLLECTION.name,
            control=lambda timeout_s: self.control,
            without_record=lambda: without_record or whole("old"),
            progress=shared,
            connect=self.pool.open,
            counters=counters,
            clock=SYSTEM_CLOCK,
            barrier_s=barrier_s,
        )
        return Reader(
            collection=COLLECTION,
            topic=TOPIC,
            router=router,
            progress=shared,
            letters=DeadLetters(
                collection=COLLECTION.name,
                topic=TOPIC,
                progress=lambda: self.progress,
                open_table=lambda: self.letters,
                pool=self.pool,
            ),
            pool=self.pool,
            counters=counters,
            clock=SYSTEM_CLOCK,
        )


def version_of(reader: Reader, id_: str, **arguments: object) -> int:
    """The version of ``id_`` that ``reader`` sees; 0 when it is absent."""
    rows = reader.get([id_], **arguments)  # type: ignore[arg-type]
    return int(str(rows[0].metadata["v"])) if rows else 0


def key_on(store: str, percent: int) -> str:
    """A key that a route of ``percent`` sends to ``store``."""
    moved = store == "new"
    return next(key for key in map(str, range(10_000)) if (bucket_of(key) < percent * 100) == moved)


def failing(*methods: str, error: Exception) -> Callable[[str], None]:
    """A hook for ``World.before`` that raises ``error`` from these methods."""

    def before(method: str) -> None:
        if method in methods:
            raise error

    return before


def serve(world: World, reader: Reader, percent: int) -> None:
    """Flip to ``percent`` and read until the reader goes by it."""
    world.route(percent)
    wait_until(lambda: version_of(reader, "a") >= 0 and route_percent(reader) == percent)


def route_percent(reader: Reader) -> int | None:
    """The percentage that ``reader`` goes by."""
    return None if reader.route is None else reader.route.percent


def elapsed_s(work: Callable[[], object]) -> float:
    """How long ``work`` took; for upper bounds far from the truth only."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def _batch(partition: int, newest: Mapping[str, tuple[int, int]]) -> EventBatch:
    n = len(newest)
    return EventBatch(
        ids=list(newest),
        ops=np.full(n, Op.UPSERT, np.int8),
        partitions=np.full(n, partition, np.int32),
        positions=np.array([encode_position(COLLECTION.epoch, offset) for offset, _ in newest.values()], np.int64),
        vectors=np.tile(np.array([1.0, 0.0], np.float32), (n, 1)),
        metadata=[json.dumps({"v": version}).encode() for _, version in newest.values()],
    )
