"""kill -9 of the Kafka broker in the middle of a backfill under writes, then a restart."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ferry import ferry
from vecferry.local.kafka import find_kafka, start_kafka, stop_kafka
from waiting import wait_until

pytestmark = pytest.mark.server

KILLED = -signal.SIGKILL


def test_kafka_dies_in_the_middle_of_the_copy(tmp_path: Path, postgres_url: str) -> None:
    """A broker of its own, so that no other test feels it."""
    name = f"kill-{os.getpid()}"
    broker = start_kafka(name)
    try:
        with ferry(tmp_path, broker.bootstrap, postgres_url) as log:
            log.must("enrol", "products")
            log.spawn("worker", "--store", "old")
            log.spawn("worker", "--store", "new")
            with log.writing():
                # The mover dies with chunk 4 sent; the broker before any of it is read by everyone.
                assert log.run("start", "products", failpoint="backfill.produced:4") == KILLED
                os.kill(broker.pid, signal.SIGKILL)
                wait_until(lambda: find_kafka(name) is None)
                again = start_kafka(name)
                assert again.bootstrap == broker.bootstrap
                start = log.spawn("start", "products")
                assert start.wait(120) == 0, log.log()
                log.must("verify", "products")
                log.must("cutover", "products", "--to", "100")
            log.wait_drained()
    finally:
        stop_kafka(name)
