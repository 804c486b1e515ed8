"""``vecferry worker`` and SIGTERM while a batch is in the store's hands; what a worker keeps that lost its place."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
from log_world import NAME, PARTITIONS, World, world
from memory_store import MemoryStore
from vecferry.cli import worker as command
from vecferry.cli.main import main
from vecferry.consumers import service
from vecferry.consumers.worker import CollectionWorker
from vecferry.log.port import Message
from waiting import wait_until
from wrapped_log import WrappedConsumer, WrappedLog

pytestmark = pytest.mark.server


class Noted(CollectionWorker):
    """A worker that a test can look at."""

    made: list[CollectionWorker]

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.made.append(self)


def committed(log: World) -> int:
    return sum(log.admin.committed(log.group, log.topic, PARTITIONS).values())


def run_command(
    log: World, monkeypatch: pytest.MonkeyPatch, until: Callable[[CollectionWorker], bool]
) -> tuple[int, MemoryStore]:
    """Run the command on one event; the store gets SIGTERM sent, and is not done before ``until(worker)``."""
    monkeypatch.setattr(Noted, "made", [], raising=False)

    def in_hand(method: str) -> None:
        if method == "apply":
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: until(Noted.made[0]), what="the worker to react")

    store = log.store(before=in_hand)
    log.upsert("a", 1.0)
    log.flush()
    monkeypatch.setattr(service, "open_replica", lambda *_: store)
    monkeypatch.setattr(service, "CollectionWorker", Noted)
    monkeypatch.setattr(command, "config_of", lambda _: log.config)
    return main(["worker", "--store", "new"]), store


def test_what_is_in_hand_at_sigterm_is_drained_and_committed(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(kafka_bootstrap) as log:
        code, store = run_command(log, monkeypatch, lambda worker: worker.stopping)
        assert code == 0, capsys.readouterr().err
        assert "Drained and stopped" in capsys.readouterr().out
        assert list(store.rows) == ["a"]
        assert committed(log) == 1


def test_a_store_that_outlasts_the_drain_ends_the_worker_and_nothing_is_committed(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(kafka_bootstrap, worker={"drain_timeout_s": 0.2}) as log:
        code, _ = run_command(log, monkeypatch, lambda worker: worker.stopping and not worker.owned)
        assert code == 1
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vecferry: ")]
        assert said == [f"vecferry: {NAME}: the store did not finish its batch in time; it will be read again"]
        assert committed(log) == 0
        store = log.store()
        running = log.start(store, "two")
        running.wait_until(lambda: committed(log) == 1)
        running.stop()
        assert list(store.rows) == ["a"]


class Losing(WrappedConsumer):
    """A consumer that loses everything once, when it is asked to."""

    asked, lost = threading.Event(), threading.Event()

    def poll(self, timeout_s: float) -> Message | None:
        if self.asked.is_set() and not self.lost.is_set():
            assert self.listener is not None
            self.listener.lost(list(range(PARTITIONS)))
            self.lost.set()
        return super().poll(timeout_s)


def test_a_worker_that_lost_its_partitions_commits_nothing_of_what_it_held(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()
    monkeypatch.setattr(Losing, "asked", threading.Event())
    monkeypatch.setattr(Losing, "lost", threading.Event())

    def slow(method: str) -> None:
        if method == "apply":
            entered.set()
            assert release.wait(60)

    with world(kafka_bootstrap) as log:
        store = log.store(before=slow)
        log.upsert("a", 1.0)
        log.flush()
        running = log.start(store, log=WrappedLog(log.log, Losing))
        running.wait_until(entered.is_set)
        Losing.asked.set()
        running.wait_until(Losing.lost.is_set)
        assert running.worker.owned == {}
        release.set()
        running.wait_until(lambda: list(store.rows) == ["a"])
        running.stop()
        assert committed(log) == 0
