"""What applying costs beside the bare client: consume, decode, conflate, order, account and commit, into a null store.

The baseline is librdkafka with numpy and nothing else: the same topic, the same client settings, each vector copied out
of its record and counted. Both read the same backlog in turns; the first batch (joining, fetching) is not timed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from numpy.typing import NDArray
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.worker import CollectionWorker
from vecferry.log.kafka.clients import consumer_config
from vecferry.schemas.batch import EventBatch, Mark, Outcome

from .bench_log import Log, null_store
from .pairs import paired

DIMENSION = 768
EVENTS = 120_000
ROUNDS = 5
BOUND = 0.4


def run(bootstrap: str) -> list[dict[str, Any]]:
    """One row: events per second of both sides, medians over the rounds."""
    ours, bare = [], []
    with Log(bootstrap, dimension=DIMENSION) as log:
        log.publish(EVENTS)
        for turn in range(ROUNDS):
            bare.append(_bare(log))
            ours.append(_worker(log, f"round-{turn}"))
    return [paired(f"consume and account {DIMENSION}-d", ours, bare, bound=BOUND, unit="events/s")]


def _bare(log: Log) -> float:
    """Events per second of ``consume`` and one numpy copy each."""
    consumer = Consumer(consumer_config(log.config.kafka, "bench-bare"))
    consumer.assign([TopicPartition(log.topic, partition, OFFSET_BEGINNING) for partition in range(log.partitions)])
    vectors = np.empty((1_000, DIMENSION), np.float32)
    size, seen, first, start = 4 * DIMENSION, 0, 0, 0.0
    while seen < EVENTS:
        messages: list[Any] = consumer.consume(1_000, 1.0)
        for row, message in enumerate(messages):
            value = message.value()
            vectors[row] = np.frombuffer(value, "<f4", DIMENSION, len(value) - size - 1)
        seen += len(messages)
        if not first and messages:
            first, start = seen, time.perf_counter()
    seconds = time.perf_counter() - start
    consumer.close()
    return (seen - first) / seconds


def _worker(log: Log, instance: str) -> float:
    """Events per second of a real worker, measured at its store."""
    log.rewind()
    marks: list[tuple[float, int]] = []
    done = threading.Event()

    def apply(batch: EventBatch, taken: Sequence[Mark]) -> NDArray[np.int8]:
        marks.append((time.perf_counter(), len(batch)))
        if sum(rows for _, rows in marks) >= EVENTS:
            done.set()
        return np.full(len(batch), Outcome.APPLIED, np.int8)

    worker = CollectionWorker(
        log.config, log.name, "new", null_store(log.collection, apply), log.log, log.control, SYSTEM_CLOCK, instance
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    done.wait(300)
    worker.stop()
    thread.join()
    return sum(rows for _, rows in marks[1:]) / (marks[-1][0] - marks[0][0])
