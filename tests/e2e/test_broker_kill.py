"""kill -9 of the Kafka broker in the middle of a backfill under writes, then a restart."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ferry import Ferry, ferry
from vecferry.local.kafka import Kafka, find_kafka, start_kafka, stop_kafka
from waiting import wait_until

pytestmark = pytest.mark.server

KILLED = -signal.SIGKILL
NAME = f"kill-{os.getpid()}"


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker of its own, so that no other test feels it."""
    yield start_kafka(NAME)
    stop_kafka(NAME)


@contextmanager
def moving(folder: Path, broker: Kafka, postgres_url: str) -> Iterator[Ferry]:
    """A migration whose workers run and whose application writes; both stores must end equal to what was written."""
    with ferry(folder, broker.bootstrap, postgres_url) as log:
        log.must("enrol", "products")
        log.spawn("worker", "--store", "old")
        log.spawn("worker", "--store", "new")
        with log.writing():
            yield log
            log.must("verify", "products")
            log.must("cutover", "products", "--to", "100")
        log.wait_drained()


def kill_and_restart(broker: Kafka) -> None:
    os.kill(broker.pid, signal.SIGKILL)
    wait_until(lambda: find_kafka(NAME) is None)
    assert start_kafka(NAME).bootstrap == broker.bootstrap


def test_kafka_dies_in_the_middle_of_the_copy(tmp_path: Path, broker: Kafka, postgres_url: str) -> None:
    with moving(tmp_path, broker, postgres_url) as log:
        # The mover dies with chunk 4 sent; the broker before any of it is read by everyone.
        assert log.run("start", "products", failpoint="backfill.produced:4") == KILLED, log.log()
        kill_and_restart(broker)
        start = log.spawn("start", "products")
        assert start.wait(120) == 0, log.log()


def test_kafka_dies_under_a_running_copy(tmp_path: Path, broker: Kafka, postgres_url: str) -> None:
    """The copy goes on by itself, or ends with one line and is gone on with by the same command."""
    with moving(tmp_path, broker, postgres_url) as log:
        start = log.spawn("start", "products")
        # One line of progress a second: which numbers of chunks it shows is not known before.
        wait_until(lambda: re.search(r'"chunks_done": ([3-9]|[0-9]{2})', log.log()), 60, "a part of the copy", log.log)
        kill_and_restart(broker)
        code = start.wait(120)
        assert "Traceback" not in log.log()
        if code != 0:
            assert code in (1, 4), log.log()
            assert re.search(r"^vecferry: .+", log.log(), re.MULTILINE), log.log()
            log.must("start", "products")
