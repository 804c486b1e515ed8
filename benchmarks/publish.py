"""What publishing costs beside the bare Kafka client: throughput, and the time of one call.

Both sides send the same bytes with the same client configuration to the same topic, in turns within one run; a ratio is
the median of those of the rounds. Each has a process of its own, as in an application: in a common one the bare client
took half the time for a call, in memory that the publisher had left in the heap. Each round begins with another side:
what one leaves for the broker to write the next one pays for. The bare client is measured twice: without and with
delivery reports, which the publisher needs for its tokens. Needs a broker: ``--bootstrap`` or VECFERRY_BENCH_BOOTSTRAP.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so
from vecferry.producers import Publisher
from vecferry.producers.client import client_config
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space

from .machine import memory_in_use
from .pairs import paired

PARTITIONS = 4
ROUNDS = 12  # each of the four sides comes first three times
CALLS = 20_000  # timed one by one
LAPS = 6  # of CALLS events, for throughput: a shorter run would measure how much fits into the client's queue
BATCH_ROWS = 1_000
METADATA = {"section": "libs", "priority": "optional", "installed_kib": 1234}
JSON = b'{"section":"libs","priority":"optional","installed_kib":1234}'


def collection_of(dimension: int) -> Collection:
    """Of one dimension."""
    space = Space(model="all-MiniLM-L6-v2", version="1", dimension=dimension, metric="cosine")
    return Collection(name="bench", space=space, partitions=PARTITIONS)


def rows_of(dimension: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """CALLS ids, and float32 vectors [CALLS, dimension]."""
    vectors = np.random.default_rng(1).standard_normal((CALLS, dimension)).astype(np.float32)
    return [f"product-{number}" for number in range(CALLS)], vectors


_made: Any = None  # by _make, in a process of its own


class Bare:
    """The client alone, sending bytes that were made before the clock started. With ``reports`` it takes those too."""

    def __init__(self, settings: dict[str, Any], topic: str, dimension: int) -> None:
        ids, vectors = rows_of(dimension)
        encode, now_ms = EventEncoder(collection_of(dimension)).upsert, int(time.time() * 1000)
        keys = [id_.encode() for id_ in ids]
        self._pairs = [
            (key, encode(key, memoryview(vector), JSON, event_id=bytes(16), occurred_at_ms=now_ms))
            for key, vector in zip(keys, vectors, strict=True)
        ]
        self._producer, self._topic = Producer(client_config(settings)), topic

    def burst(self, *, reports: bool = False) -> float:
        """Seconds until everything is acknowledged."""
        producer, topic = self._producer, self._topic
        options: dict[str, Any] = {"on_delivery": _take} if reports else {}
        start = time.perf_counter()
        for key, value in itertools.chain.from_iterable([self._pairs] * LAPS):
            while True:
                try:
                    producer.produce(topic, value, key, **options)
                    break
                except BufferError:
                    producer.poll(0.01)
        while len(producer):
            producer.flush(1.0)
        return time.perf_counter() - start

    def call(self, *, reports: bool = False) -> float:
        """Microseconds of the median call, in a burst."""
        options: dict[str, Any] = {"on_delivery": _take} if reports else {}
        producer, topic, clock, times = self._producer, self._topic, time.perf_counter_ns, []
        for key, value in self._pairs:
            start = clock()
            producer.produce(topic, value, key, **options)
            times.append(clock() - start)
        while len(producer):
            producer.flush(1.0)
        return statistics.median(times) / 1000

    def close(self) -> None:
        """Everything was acknowledged."""
        self._producer.close()


class Ours:
    """The publisher: validation, encoding and deliveries included."""

    def __init__(self, settings: dict[str, Any], topic: str, dimension: int) -> None:
        self._ids, self._vectors = rows_of(dimension)
        self._pairs, self._metadata = list(zip(self._ids, self._vectors, strict=True)), [METADATA] * BATCH_ROWS
        self._publisher = Publisher(collection_of(dimension), topic=topic, producer_config=settings)

    def burst(self) -> float:
        """Seconds until everything is acknowledged."""
        upsert = self._publisher.upsert
        start = time.perf_counter()
        for id_, vector in itertools.chain.from_iterable([self._pairs] * LAPS):
            upsert(id_, vector, METADATA)
        self._publisher.flush(60.0)
        return time.perf_counter() - start

    def burst_many(self) -> float:
        """As :meth:`burst`, by ``upsert_many``."""
        upsert_many = self._publisher.upsert_many
        start = time.perf_counter()
        for _ in range(LAPS):
            for at in range(0, CALLS, BATCH_ROWS):
                rows = slice(at, at + BATCH_ROWS)
                upsert_many(self._ids[rows], self._vectors[rows], self._metadata)
        self._publisher.flush(60.0)
        return time.perf_counter() - start

    def call(self) -> float:
        """Microseconds of the median call, in a burst."""
        upsert, clock, times = self._publisher.upsert, time.perf_counter_ns, []
        for id_, vector in self._pairs:
            start = clock()
            upsert(id_, vector, METADATA)
            times.append(clock() - start)
        self._publisher.flush(30.0)
        return statistics.median(times) / 1000

    def close(self) -> None:
        """Everything was acknowledged."""
        self._publisher.close()


@contextmanager
def elsewhere(make: Callable[..., Any], *arguments: Any) -> Iterator[Callable[..., float]]:
    """What ``make`` makes, in a process of its own: yields what calls one of its methods by name."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_make, initargs=(make, *arguments)) as process:

        def call(method: str, **options: Any) -> float:
            return process.submit(_call, method, options).result()

        yield call
        call("close")


def _make(make: Callable[..., Any], *arguments: Any) -> None:
    global _made
    _made = make(*arguments)


def _call(method: str, options: dict[str, Any]) -> float:
    return getattr(_made, method)(**options)  # type: ignore[no-any-return]


def measure(bootstrap_servers: str, topic: str, dimension: int) -> list[dict[str, Any]]:
    """Rows for one dimension. ``topic`` exists, with PARTITIONS partitions."""
    arguments = {"bootstrap.servers": bootstrap_servers}, topic, dimension
    with elsewhere(Ours, *arguments) as ours, elsewhere(Bare, *arguments) as bare:
        ours("call"), bare("call")  # connections, producer ids, caches
        sides = (
            partial(ours, "burst"),
            partial(ours, "burst_many"),
            partial(bare, "burst"),
            partial(bare, "burst", reports=True),
        )
        bursts = [_in_turns(sides, first=number) for number in range(ROUNDS)]
        calls = [(ours("call"), bare("call"), bare("call", reports=True)) for _ in range(ROUNDS)]
    upsert, many, *bare_rates = ([LAPS * CALLS / seconds for seconds in side] for side in zip(*bursts, strict=True))
    call, *bare_calls = zip(*calls, strict=True)
    without, with_reports = bare_rates
    call_without, call_with = bare_calls
    name, alone = f"publish {dimension}-d", ", baseline takes no delivery reports"
    return [
        paired(f"{name}, throughput of upsert", upsert, with_reports, bound=0.55, unit="events/s"),
        paired(f"{name}, throughput of upsert_many", many, with_reports, bound=0.65, unit="events/s"),
        paired(f"{name}, one call", call, call_with, bound=None, unit="us"),
        paired(f"{name}, throughput of upsert{alone}", upsert, without, bound=None, unit="events/s"),
        paired(f"{name}, throughput of upsert_many{alone}", many, without, bound=None, unit="events/s"),
        paired(f"{name}, one call{alone}", call, call_without, bound=None, unit="us"),
    ]


def _in_turns(sides: Sequence[Callable[[], float]], first: int) -> list[float]:
    """What each side says, asked one after the other from ``first`` on."""
    said = [0.0] * len(sides)
    for number in range(first, first + len(sides)):
        said[number % len(sides)] = sides[number % len(sides)]()
    return said


def _take(error: object, message: Any) -> None:
    """What a caller must do at least to know where a record lies: a bare client can only learn it from its report."""
    message.partition(), message.offset()


def run(bootstrap_servers: str | None = None) -> list[dict[str, Any]]:
    """Rows of name, ours, baseline, ratio, bound and unit; rates must reach their bound, times stay within it."""
    address = bootstrap_servers or os.environ["VECFERRY_BENCH_BOOTSTRAP"]
    admin = AdminClient({"bootstrap.servers": address})
    rows: list[dict[str, Any]] = []
    with memory_in_use():
        for dimension in (384, 768):
            topic = f"bench-publish-{uuid.uuid4().hex[:8]}"
            admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])[topic].result(30)
            rows += measure(address, topic, dimension)
            admin.delete_topics([topic])[topic].result(30)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="address of a broker; default VECFERRY_BENCH_BOOTSTRAP")
    for row in run(parser.parse_args().bootstrap):
        print("{name:64} {ours:12.1f} {baseline:12.1f} {unit:9} ratio {ratio:6.2f} bound {bound}".format(**row))
