"""The Kafka client behind a publisher: its configuration, the checks at opening, and what its errors mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import TopicMetadata  # type: ignore[attr-defined]  # re-exported without saying so

from ..clock import Clock
from ..errors import ConfigError, Refused, Unavailable
from ..kafka_contact import Contact, quieten
from ..schemas.collection import Collection
from ..schemas.guarantees import ONE_REQUEST_AT_A_TIME, PRODUCER_GUARANTEES
from .delivery import describe

_log = logging.getLogger("vecferry.kafka")
_log.addHandler(logging.NullHandler())  # an application that configures no logging gets none of librdkafka's lines
quieten(_log)

_NEW_TOPIC_S = 5.0  # a topic that was just made reaches the brokers one after the other, a busy one late
_PAUSE_S = 0.1
_USUAL_BYTES = 1_000_000  # of a batch, and of a request, unless the client is told otherwise
_LEAST_BYTES = 1_000  # the client takes no lower bound

_DEFAULTS: Mapping[str, object] = {
    "linger.ms": 5,
    "delivery.timeout.ms": 120_000,
    "logger": _log,
    **ONE_REQUEST_AT_A_TIME,  # an application may ask for more, by this name or by the client's shorter one
}
# Other names for guarantees, and what would break them from the side.
_REFUSED: Mapping[str, str] = {
    "request.required.acks": "it is another name of acks",
    "default.topic.config": "set topic properties directly",
    "transactional.id": "a publisher writes outside of transactions",
    "delivery.report.only.error": "write tokens need every report",
    "dr_cb": "write tokens need the reports",
    "on_delivery": "write tokens need the reports",
}


def client_config(producer_config: Mapping[str, Any]) -> dict[str, Any]:
    """``producer_config`` with the guarantees on top; ConfigError for a property that contradicts one."""
    for key, value in producer_config.items():
        if key in _REFUSED:
            raise ConfigError(f"client property {key!r} cannot be set: {_REFUSED[key]}; remove it")
        if key in PRODUCER_GUARANTEES and str(value).lower() != str(PRODUCER_GUARANTEES[key]).lower():
            raise ConfigError(f"client property {key!r} carries a guarantee and cannot be {value!r}; remove it")
    return {**_DEFAULTS, **producer_config, **PRODUCER_GUARANTEES}


def bounds(max_record_bytes: int | None) -> dict[str, int]:
    """Settings by which the client neither takes a record, nor makes a batch, that the topic would refuse."""
    if max_record_bytes is None or max_record_bytes >= _USUAL_BYTES:
        return {}
    return {"message.max.bytes": max(_LEAST_BYTES, max_record_bytes), "batch.size": max(1, max_record_bytes)}


def connect(
    collection: Collection,
    topic: str,
    producer_config: Mapping[str, Any],
    contact: Contact,
    *,
    timeout_s: float,
    on_error: Callable[[KafkaError], None],
    clock: Clock,
) -> Producer:
    """A client for ``topic``. Blocks at most about ``timeout_s``.

    Raises ConfigError, Unavailable when Kafka does not answer in time, and Refused when the topic is absent or has not
    the collection's number of partitions: a key would be in two of them.
    """
    config = client_config(producer_config)
    try:
        producer = Producer({**config, "error_cb": on_error})
    except (KafkaException, TypeError, ValueError) as error:
        raise ConfigError(f"the Kafka client refuses its configuration: {_reason(error)}") from error
    try:
        topics = _topics(producer, topic, timeout_s, clock)
    except KafkaException as error:
        producer.poll(0)  # the cause is a report of its own
        raise Unavailable(contact.explain(error.args[0])) from error
    if topic not in topics:
        raise Refused(
            f"topic {topic} does not exist; create it with `vecferry enrol {collection.name}`, "
            "or allow this user DESCRIBE on it if it does"
        )
    found = len(topics[topic].partitions)
    if found != collection.partitions:
        raise Refused(
            f"topic {topic} has {found} partitions and collection {collection.name} says {collection.partitions}; "
            "correct `partitions`, or begin a new epoch if the topic was repartitioned"
        )
    return producer


def _topics(producer: Producer, topic: str, timeout_s: float, clock: Clock) -> dict[str, TopicMetadata]:
    """All topics: asking for one by name would create it on brokers that create topics by themselves."""
    deadline_s = clock.monotonic_s() + min(timeout_s, _NEW_TOPIC_S)
    while True:
        topics: dict[str, TopicMetadata] = producer.list_topics(timeout=timeout_s).topics
        if topic in topics or clock.monotonic_s() >= deadline_s:
            return topics
        clock.sleep_s(_PAUSE_S)


def _reason(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    return describe(cause) if isinstance(cause, KafkaError) else str(cause)
