"""What the settings of topics must be so that no acknowledged record is refused or deleted unread. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..log.port import Topic
from ..log.topics import BROKER_TIME, largest_record, takes_broker_time
from ..schemas.collection import MAX_ID_BYTES, Collection
from ..wording import count
from .gates import GateResult, Verdict

_EVENT_BYTES = 512  # of an event besides id and vector, with a little metadata


def alter_command(address: str, topic: str, setting: str) -> str:
    """The command that sets ``setting`` (``name=value``) on ``topic``."""
    return (
        f"kafka-configs.sh --bootstrap-server {address} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}"
    )


def record_time_checks(topics: Sequence[Topic], address: str) -> tuple[GateResult, ...]:
    """Records bear the broker's time: one failed check for each topic where a producer's clock decides.

    Retention deletes by that time, and brokers refuse one that is ahead.
    """
    required = "message.timestamp.type=LogAppendTime"
    failed = tuple(
        GateResult(
            name="record times",
            verdict=Verdict.FAIL,
            measured=f"{topic.name} takes the time of the producer's clock: one that is wrong loses records",
            required=required,
            remedy=alter_command(address, topic.name, *(f"{key}={value}" for key, value in BROKER_TIME.items())),
        )
        for topic in topics
        if not takes_broker_time(topic)
    )
    measured = f"{count(len(topics), 'topic')} with the broker's time"
    return failed or (GateResult(name="record times", verdict=Verdict.PASS, measured=measured, required=required),)


def record_size_check(topic: Topic, collection: Collection, address: str) -> GateResult:
    """An event with the collection's vector fits into the live topic."""
    needed, largest = 4 * collection.space.dimension + MAX_ID_BYTES + _EVENT_BYTES, largest_record(topic)
    fits = largest >= needed
    return GateResult(
        name="record size",
        verdict=Verdict.PASS if fits else Verdict.FAIL,
        measured=f"{topic.name} takes {largest} bytes",
        required=f"{needed} bytes, and what metadata takes",
        remedy="" if fits else alter_command(address, topic.name, f"max.message.bytes={1024 * 1024 + 12}"),
    )
