"""Commits are repeated until Kafka has confirmed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
from applied_log import settled
from log_world import NAME, PARTITIONS, world
from vecferry.consumers.commits import Commits
from vecferry.consumers.partition import Owned, Partition
from vecferry.log.port import Consumer, Place
from wrapped_log import WrappedConsumer, WrappedLog

REBALANCING = "the group is rebalancing"
FENCED = "the generation of the member is over"
PLACE, OTHER = ("events", 0), ("events", 1)


class Group:
    """What a consumer says to awaited commits: in the order of ``answers``, None being a success."""

    def __init__(self, *answers: str | None) -> None:
        self.owned: Owned = {}
        self.commits = Commits(NAME, self.owned)
        self.asked: list[dict[Place, int]] = []
        self._answers = list(answers)

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        self.asked.append(dict(offsets))
        if wait:
            answer = self._answers.pop(0)
            self.commits.answered(answer, offsets if answer is None else {})

    def own(self, place: Place, finished: int) -> None:
        partition = self.owned.setdefault(place, Partition(place=place, next_offset=0, handled_below=0))
        partition.finished = finished

    def send(self, *, wait_for_it: bool) -> bool:
        return self.commits.send(cast(Consumer, self), wait_for_it=wait_for_it)


@pytest.mark.parametrize("error", [REBALANCING, FENCED])
def test_an_asynchronous_commit_that_failed_is_repeated_and_said_once(
    error: str, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group()
    group.own(PLACE, 7)
    for _ in range(3):
        assert not group.send(wait_for_it=False)
        assert not group.send(wait_for_it=False)  # one is under way
        group.commits.answered(error, {})
    assert group.asked == [{PLACE: 7}] * 3
    assert len(caplog.messages) == 1
    assert not group.send(wait_for_it=False)
    group.commits.answered(None, {PLACE: 7})
    assert group.send(wait_for_it=False)
    assert len(group.asked) == 4


def test_an_awaited_commit_that_failed_stays_open() -> None:
    group = Group(REBALANCING, None)
    group.own(PLACE, 7)
    assert not group.send(wait_for_it=True)
    assert group.send(wait_for_it=True)
    assert group.send(wait_for_it=True)
    assert group.asked == [{PLACE: 7}] * 2


def test_an_answer_counts_for_what_it_names() -> None:
    group = Group()
    group.own(PLACE, 7)
    group.own(OTHER, 3)
    group.send(wait_for_it=False)
    group.own(PLACE, 9)
    group.commits.answered(FENCED, {PLACE: 7})
    assert group.commits.open() == {PLACE: 9, OTHER: 3}


def test_nothing_is_committed_of_what_was_given_up() -> None:
    group = Group()
    group.own(PLACE, 7)
    group.send(wait_for_it=False)
    del group.owned[PLACE]
    group.commits.answered(None, {PLACE: 7})
    assert group.send(wait_for_it=False)
    group.own(PLACE, 7)  # it came back: what another owner committed meanwhile is not known
    assert group.commits.open() == {PLACE: 7}


class Unlucky(WrappedConsumer):
    """A consumer whose first commits do not arrive."""

    failures = 2

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        if self.failures and not wait:
            self.failures -= 1
            self.on_commit(REBALANCING, {})
            return
        super().commit(offsets, wait=wait)


@pytest.mark.server
def test_the_group_of_an_idle_partition_catches_up_after_failed_commits(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap, worker={"commit_interval_ms": 100}) as log:
        store = log.store()
        running = log.start(store, log=WrappedLog(log.log, Unlucky))
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running.wait_until(lambda: settled(log, store))
        ends = dict(enumerate(log.admin.end_offsets(log.topic, PARTITIONS)))
        running.wait_until(lambda: log.admin.committed(log.group, log.topic, PARTITIONS) == ends)
        partitions = list(running.worker.owned.values())
        running.wait_until(lambda: all(one.committed == one.finished for one in partitions))  # the client called back
        running.stop()
