"""With which settings vecferry makes its topics."""

from __future__ import annotations

from .port import Topic

DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024 + 12  # Kafka's own
RETENTION_MS = 30 * 24 * 3_600 * 1_000

# Retention goes by the time of a record: with that of a producer whose clock is behind, it deletes records unread.
BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}
LIVE_TOPIC = {
    **BROKER_TIME,
    "cleanup.policy": "delete",
    "retention.ms": str(RETENTION_MS),
    "retention.bytes": "-1",
}
# A run's topic is kept for replays; `decommission` is what removes it.
SNAPSHOT_TOPIC = {**BROKER_TIME, "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Small segments and an eager cleaner: every reader of a compacted topic starts at its beginning.
COMPACTED_TOPIC = {
    **BROKER_TIME,
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(DEFAULT_MAX_MESSAGE_BYTES),  # a page of a plan is longer than some brokers take
}
# A record of the largest size that brokers take by default, and what a dead letter says beside it.
DEAD_LETTER_TOPIC = {**COMPACTED_TOPIC, "max.message.bytes": str(2 * 1024 * 1024)}

_FRAMING_BYTES = 1024  # of a batch with one record: header, lengths, names of headers


def largest_record(topic: Topic) -> int:
    """How long key and value of one record of ``topic`` may be together."""
    return int(topic.settings.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES)) - _FRAMING_BYTES


def takes_broker_time(topic: Topic) -> bool:
    """Whether the records of ``topic`` bear the broker's time."""
    return topic.settings.get("message.timestamp.type") == BROKER_TIME["message.timestamp.type"]
