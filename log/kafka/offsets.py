"""Where partitions begin and end, by ListOffsets: every offset as Kafka has it, or Unavailable."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported without saying so

from ...clock import Clock
from ...config import KafkaSection
from ...wording import partitions as in_partitions
from .clients import patiently

_SHORTEST_S = 0.01  # the client takes a time-out of zero as none at all

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Bound(Enum):
    """Which offset of a partition is asked for: the fields of ``port.Offsets``."""

    BEGIN = (_EARLIEST, IsolationLevel.READ_UNCOMMITTED)
    STABLE = (_LATEST, IsolationLevel.READ_COMMITTED)
    END = (_LATEST, IsolationLevel.READ_UNCOMMITTED)


def list_offsets(
    kafka: KafkaSection,
    client: AdminClient,
    topic: str,
    partitions: int,
    bounds: Sequence[Bound],
    *,
    clock: Clock,
    timeout_s: float,
) -> list[tuple[int, ...]]:
    """The offset of every partition, for each of ``bounds``. Blocks for ``timeout_s``; raises Unavailable.

    All bounds are asked for at once, in this order.
    """
    deadline_s = clock.monotonic_s() + timeout_s
    leaderless: list[KafkaException] = []

    def ask() -> list[tuple[int, ...]]:
        left_s = max(_SHORTEST_S, deadline_s - clock.monotonic_s())
        try:
            asked = [_ask(client, topic, partitions, bound, left_s) for bound in bounds]
            return [_answer(topic, answers) for answers in asked]
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError._NOENT:
                leaderless.append(error)
                # A client whose metadata lack this topic does not ask for its leaders unless told to.
                with suppress(KafkaException):
                    client.list_topics(topic, timeout=max(_SHORTEST_S, deadline_s - clock.monotonic_s()))
            elif code == KafkaError._TIMED_OUT and leaderless:
                raise leaderless[-1] from error  # the last attempt had too little time to learn it again
            raise

    return patiently(kafka, client, ask, clock=clock, timeout_s=timeout_s)


def _ask(client: AdminClient, topic: str, partitions: int, bound: Bound, timeout_s: float) -> list[Future[Any]]:
    spec, isolation = bound.value
    wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
    answers = client.list_offsets(dict.fromkeys(wanted, spec), isolation_level=isolation, request_timeout=timeout_s)
    by_number = {entry.partition: future for entry, future in answers.items()}
    return [by_number[entry.partition] for entry in wanted]


def _answer(topic: str, answers: Sequence[Future[Any]]) -> tuple[int, ...]:
    found = tuple(int(answer.result().offset) for answer in answers)
    # The client reports no error for a leader that did not answer in time, but -1001 as the offset of its partitions.
    if silent := [partition for partition, offset in enumerate(found) if offset < 0]:
        reason = f"the leader of {topic} gave no answer for {in_partitions(silent)}"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, reason))
    return found
