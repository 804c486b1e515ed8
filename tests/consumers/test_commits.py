"""Commits are repeated until Kafka has confirmed them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from applied_log import settled
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from log_world import NAME, PARTITIONS, world
from vecferry.consumers.commits import Commits

REBALANCING = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
FENCED = KafkaError(KafkaError.ILLEGAL_GENERATION)
PLACE = ("events", 0)


class Group:
    """What a consumer says to commits: in the order of ``answers``, None being a success."""

    def __init__(self, *answers: KafkaError | None) -> None:
        self.asked: list[dict[tuple[str, int], int]] = []
        self._answers = list(answers)

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        self.asked.append({(entry.topic, entry.partition): entry.offset for entry in offsets})
        if asynchronous:
            return None
        answer = self._answers.pop(0)
        if answer is not None:
            raise KafkaException(answer)
        return list(offsets)


def send(commits: Commits, group: Group, *, wait_for_it: bool) -> bool:
    return commits.send(cast(Consumer, group), wait_for_it=wait_for_it)


@pytest.mark.parametrize("error", [REBALANCING, FENCED])
def test_an_asynchronous_commit_that_failed_is_repeated_and_said_once(
    error: KafkaError, caplog: pytest.LogCaptureFixture
) -> None:
    commits, group = Commits(NAME), Group()
    commits.note(PLACE, 7)
    for _ in range(3):
        assert not send(commits, group, wait_for_it=False)
        assert not send(commits, group, wait_for_it=False)  # one is under way
        commits.answered(error, [])
    assert group.asked == [{PLACE: 7}] * 3
    assert len(caplog.messages) == 1
    assert not send(commits, group, wait_for_it=False)
    commits.answered(None, [TopicPartition(*PLACE, 7)])
    assert send(commits, group, wait_for_it=False)
    assert len(group.asked) == 4


def test_an_awaited_commit_that_failed_stays_open() -> None:
    commits, group = Commits(NAME), Group(REBALANCING, None)
    commits.note(PLACE, 7)
    assert not send(commits, group, wait_for_it=True)
    assert send(commits, group, wait_for_it=True)
    assert send(commits, group, wait_for_it=True)
    assert group.asked == [{PLACE: 7}] * 2


def test_an_answer_counts_for_what_it_names() -> None:
    commits, group = Commits(NAME), Group(None)
    commits.note(PLACE, 7)
    commits.note(("events", 1), 3)
    send(commits, group, wait_for_it=False)
    commits.note(PLACE, 9)
    refused = SimpleNamespace(topic="events", partition=1, offset=3, error=FENCED)
    commits.answered(None, [TopicPartition(*PLACE, 7), cast(TopicPartition, refused)])
    assert commits.open() == {PLACE: 9, ("events", 1): 3}


def test_nothing_is_committed_of_what_was_given_up() -> None:
    commits, group = Commits(NAME), Group()
    commits.note(PLACE, 7)
    send(commits, group, wait_for_it=False)
    commits.forget({PLACE})
    commits.answered(None, [TopicPartition(*PLACE, 7)])
    assert send(commits, group, wait_for_it=False)
    commits.note(PLACE, 7)  # it came back: what another owner committed meanwhile is not known
    assert commits.open() == {PLACE: 7}


class Unlucky:
    """A consumer whose first commits do not arrive."""

    def __init__(self, consumer: Consumer, commits: Commits) -> None:
        self._consumer, self._commits = consumer, commits
        self._failures = 2

    def commit(self, **arguments: Any) -> Any:
        if self._failures and arguments["asynchronous"]:
            self._failures -= 1
            self._commits.answered(REBALANCING, [])
            return None
        return self._consumer.commit(**arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)


@pytest.mark.server
def test_the_group_of_an_idle_partition_catches_up_after_failed_commits(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap, worker={"commit_interval_ms": 100}) as log:
        store = log.store()
        running = log.start(store)
        running.wait_until(lambda: len(running.worker._assignment.streams) == PARTITIONS)
        worker = running.worker
        worker._consumer = cast(Consumer, Unlucky(worker._consumer, worker._commits))
        for number in range(30):
            log.upsert(f"id-{number}", 1.0)
        log.flush()
        running.wait_until(lambda: settled(log, store))
        ends = dict(enumerate(log.admin.end_offsets(log.topic, PARTITIONS)))
        running.wait_until(lambda: log.admin.committed(log.group, log.topic, PARTITIONS) == ends)
        running.wait_until(lambda: not worker._commits.open())  # confirmed: the client called back
        running.stop()
