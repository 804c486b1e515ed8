"""Client configurations: the user's properties, ours where they are silent, and the guarantees on top."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from ..config import KafkaSection
from ..errors import Unavailable
from ..schemas.guarantees import CONSUMER_GUARANTEES, PRODUCER_GUARANTEES

_log = logging.getLogger("vecferry.kafka")
# One [kafka.client] serves producers, consumers and admin clients; each warns of what is meant for another.
_log.addFilter(lambda record: "and will be ignored by this" not in record.getMessage())

REQUEST_TIMEOUT_S = 15.0

_PRODUCER_DEFAULTS = {"linger.ms": 5, "compression.type": "none", "delivery.timeout.ms": 120_000}
# Bounded fetch queues: memory must not depend on how much waits in the topic.
_CONSUMER_DEFAULTS = {
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 20,
    "max.poll.interval.ms": 300_000,
    "session.timeout.ms": 10_000,  # how long the partitions of a killed worker rest
    "heartbeat.interval.ms": 2_000,
}
# With the consumer protocol (KIP-848) the broker decides these, and librdkafka refuses to be told.
_BROKER_DECIDES = frozenset({"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"})


def _common(kafka: KafkaSection) -> dict[str, Any]:
    user = {key: value.get_secret_value() for key, value in kafka.client.items()}
    return {"logger": _log, **user, "bootstrap.servers": kafka.bootstrap_servers}


def admin_config(kafka: KafkaSection) -> dict[str, Any]:
    """For AdminClient."""
    return _common(kafka)


def producer_config(kafka: KafkaSection) -> dict[str, Any]:
    """For Producer: idempotent, acknowledged by all, Java partitioner."""
    return {**_PRODUCER_DEFAULTS, **_common(kafka), **PRODUCER_GUARANTEES}


def consumer_config(kafka: KafkaSection, group: str) -> dict[str, Any]:
    """For Consumer: manual offsets, read_committed, no automatic reset."""
    config = {**_CONSUMER_DEFAULTS, **_common(kafka), **CONSUMER_GUARANTEES, "group.id": group}
    if config.get("group.protocol") == "consumer":
        return {key: value for key, value in config.items() if key not in _BROKER_DECIDES}
    return config


def unavailable(kafka: KafkaSection, error: KafkaException | KafkaError) -> Unavailable:
    """The one clear line for a Kafka that does not answer."""
    reason = error.args[0] if isinstance(error, KafkaException) else error
    detail = reason.str() if isinstance(reason, KafkaError) else str(reason)
    return Unavailable(
        f"Kafka at {kafka.bootstrap_servers} does not answer ({detail}); start it or correct kafka.bootstrap_servers"
    )
