"""kill -9 of each part in the middle of a backfill under writes, then a restart: always the same final state."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ferry import Ferry, ferry

pytestmark = pytest.mark.server

KILLED = -signal.SIGKILL


def worker_dies_between_store_and_commit(log: Ferry) -> None:
    doomed = log.spawn("worker", "--store", "new", failpoint="worker.applied:5")
    start = log.spawn("start", "products")
    assert doomed.wait(60) == KILLED, log.log()
    log.spawn("worker", "--store", "new")
    assert start.wait(120) == 0, log.log()


def worker_of_the_source_dies(log: Ferry) -> None:
    log.processes[0].kill()
    log.spawn("worker", "--store", "new")
    start = log.spawn("start", "products")
    log.spawn("worker", "--store", "old")
    assert start.wait(120) == 0, log.log()


def backfill_dies_after_sending_a_chunk(log: Ferry) -> None:
    log.spawn("worker", "--store", "new")
    assert log.run("start", "products", failpoint="backfill.produced:3") == KILLED, log.log()
    assert log.run("start", "products", failpoint="backfill.marked:2") == KILLED, log.log()
    log.must("start", "products")


def controller_dies_after_journaled_steps(log: Ferry) -> None:
    log.spawn("worker", "--store", "new")
    for failpoint in (
        "controller.leased",
        "start.target-prepared",
        "start.run-opened",
        "start.copying",
        "start.copied",
    ):
        assert log.run("start", "products", failpoint=failpoint) == KILLED, log.log()
    log.must("start", "products")
    log.must("verify", "products")
    for failpoint in ("cutover.gated", "cutover.written"):
        assert log.run("cutover", "products", "--to", "100", failpoint=failpoint) == KILLED, log.log()
    log.must("cutover", "products", "--to", "100")
    log.must("rollback", "products")


KILLS = [
    worker_dies_between_store_and_commit,
    worker_of_the_source_dies,
    backfill_dies_after_sending_a_chunk,
    controller_dies_after_journaled_steps,
]


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.__name__)
def test_a_kill_changes_nothing_about_the_end(
    kill: Callable[[Ferry], None], tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    with ferry(tmp_path, kafka_bootstrap, postgres_url) as log:
        log.must("enrol", "products")
        log.spawn("worker", "--store", "old")
        with log.writing():
            kill(log)
        log.wait_drained()
        log.must("verify", "products")
