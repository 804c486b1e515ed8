"""Kafka is restored to an earlier state: its offsets would be given out twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import vecferry
from ferry import DIMENSION, Ferry, State, ferry
from vecferry.errors import Refused
from vecferry.local.kafka import Kafka, start_kafka, stop_kafka

pytestmark = pytest.mark.server

NAME = f"back-{os.getpid()}"


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker of its own, so that no other test feels it."""
    yield start_kafka(NAME)
    stop_kafka(NAME)


def publish(log: Ferry, numbers: range) -> None:
    """Publish a row for each number, and note what was acknowledged."""
    with vecferry.open(str(log.config)) as pipeline, pipeline.publisher("products") as publisher:
        for number in numbers:
            id_, vector = f"new-{number}", np.full(DIMENSION, float(number), np.float32)
            metadata = {"title": f"New {number}", "stock": number}
            position = publisher.upsert(id_, vector, metadata).result(timeout=60).position
            log.ledger[id_] = State(position, vector.tobytes(), metadata)


def test_new_writes_are_refused_and_none_is_dropped_as_a_duplicate_after_kafka_was_restored(
    tmp_path: Path, broker: Kafka, postgres_url: str
) -> None:
    data, copy = broker.directory / "data", tmp_path / "copy"
    with ferry(tmp_path, broker.bootstrap, postgres_url, rows=0) as log:
        log.must("enrol", "products")
        publish(log, range(10))
        stop_kafka(NAME)
        shutil.copytree(data, copy)
        assert start_kafka(NAME).bootstrap == broker.bootstrap
        workers = [log.spawn("worker", "--store", store) for store in ("old", "new")]
        publish(log, range(10, 40))
        log.wait_drained()
        for worker in workers:
            worker.terminate()
            assert worker.wait(60) == 0, log.log()
        stop_kafka(NAME)
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        assert start_kafka(NAME).bootstrap == broker.bootstrap

        told = "Kafka came back with an older copy of its data"
        with pytest.raises(Refused, match=told):
            publish(log, range(40, 50))
        for store in ("old", "new"):
            assert log.run("worker", "--store", store) == 3
            assert told in log.log()
        assert log.run("doctor", "products") == 3
        assert "log end" in log.log()
        assert log.differences() == []
