"""Client configurations: our defaults, overridden by the user's properties, overridden by the guarantees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ...clock import Clock
from ...config import KafkaSection
from ...errors import ConfigError
from ...schemas.guarantees import CONSUMER_GUARANTEES, ONE_REQUEST_AT_A_TIME, PRODUCER_GUARANTEES
from .errors import LOG, contact_of, reason_of, unavailable

T = TypeVar("T")
C = TypeVar("C")

REQUEST_TIMEOUT_S = 15.0

# The codes by which brokers and the client report that a topic does not exist.
ABSENT = frozenset(
    {
        KafkaError._NOENT,  # a topic without a leader
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

_SETTLING_PAUSE_S = 0.1
_SETTLING = frozenset(
    {
        KafkaError._NOENT,  # "no leaders found"
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,  # a new leader that does not know yet how far consumers may read
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,  # a new leader does not know yet where its partition ends
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)

_LEADER_PAUSE_S = 0.01
# A topic may take less than the client would put into one batch, and refuses the whole batch then. A record that is
# longer is a batch of its own.
_BATCH_BYTES = 128 * 1024
_PRODUCER_DEFAULTS = {"linger.ms": 5, "compression.type": "none", "delivery.timeout.ms": 120_000}
# Bounded fetch queues: memory must not depend on the backlog of the topic.
_CONSUMER_DEFAULTS = {
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 5,
    # How long an idle client waits for the broker to report the end of a partition. New messages are delivered at once
    # in any case; a smaller value only costs the broker more requests.
    "fetch.wait.max.ms": 100,
    "max.poll.interval.ms": 300_000,
    "session.timeout.ms": 10_000,  # how long nobody reads the partitions of a killed worker
    "heartbeat.interval.ms": 2_000,
}
# With the consumer protocol (KIP-848) the broker decides these, and librdkafka refuses them as settings.
_BROKER_DECIDES = frozenset({"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"})


def _common(kafka: KafkaSection) -> dict[str, Any]:
    user = {key: value.get_secret_value() for key, value in kafka.client.items()}
    return {
        "logger": LOG,
        "error_cb": contact_of(kafka).failed,
        **user,
        "bootstrap.servers": kafka.bootstrap_servers,
    }


def admin_config(kafka: KafkaSection) -> dict[str, Any]:
    """For AdminClient."""
    return _common(kafka)


def producer_config(kafka: KafkaSection) -> dict[str, Any]:
    """For the client of a Publisher: idempotent, acknowledged by all, Java partitioner."""
    return {**_PRODUCER_DEFAULTS, **_common(kafka), **PRODUCER_GUARANTEES}


def own_producer_config(kafka: KafkaSection) -> dict[str, Any]:
    """For every other Producer: the same, with one request in flight per broker and small batches in any case."""
    return {**producer_config(kafka), "batch.size": _BATCH_BYTES, **ONE_REQUEST_AT_A_TIME}


def consumer_config(kafka: KafkaSection, group: str, defaults: Mapping[str, object] | None = None) -> dict[str, Any]:
    """For Consumer: manual offsets, read_committed, no automatic reset. The user's properties override ``defaults``."""
    config = {**_CONSUMER_DEFAULTS, **(defaults or {}), **_common(kafka), **CONSUMER_GUARANTEES, "group.id": group}
    if config.get("group.protocol") == "consumer":
        return {key: value for key, value in config.items() if key not in _BROKER_DECIDES}
    return config


def made(kind: Callable[[dict[str, Any]], C], config: dict[str, Any]) -> C:
    """A client of this kind; raises ConfigError for a property that the client does not take."""
    try:
        return kind(config)
    except (KafkaException, TypeError, ValueError) as error:
        cause = error.args[0] if error.args else error
        reason = cause.str() if isinstance(cause, KafkaError) else cause
        raise ConfigError(f"the Kafka client refuses its configuration: {reason}; correct [kafka.client]") from error


def patiently(
    kafka: KafkaSection,
    client: Producer | AdminClient,
    request: Callable[[], T],
    *,
    clock: Clock,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> T:
    """Call ``request``, and repeat it while the cluster settles (a new topic without leaders, a new coordinator).

    Raises Unavailable (TopicAbsent where there is no such topic) if the cluster has not settled within ``timeout_s``,
    and at once for every other failure.
    """
    deadline_s = clock.monotonic_s() + timeout_s
    while True:
        try:
            answer = request()
        except KafkaException as error:
            client.poll(0)  # the cause, a wrong password perhaps, is a report of its own
            if reason_of(error).code() not in _SETTLING or clock.monotonic_s() > deadline_s:
                raise unavailable(kafka, error) from error
        else:
            contact_of(kafka).answered()
            return answer
        clock.sleep_s(_SETTLING_PAUSE_S)


def learn_leaders(client: Producer | Consumer, topic: str, *, clock: Clock, timeout_s: float) -> None:
    """Make ``client`` ask for the leaders of ``topic`` until every partition has one, for at most ``timeout_s``.

    Blocks. Without this call, a client that meets a new topic asks again only after half a second or more, and neither
    sends nor reads until then. Raises KafkaException when Kafka does not answer.
    """
    deadline_s = clock.monotonic_s() + timeout_s
    while clock.monotonic_s() <= deadline_s:
        partitions = client.list_topics(topic, timeout=timeout_s).topics[topic].partitions.values()
        if partitions and all(entry.error is None and entry.leader >= 0 for entry in partitions):
            return
        clock.sleep_s(_LEADER_PAUSE_S)


def learn_producer_id(producer: Producer, topic: str, *, clock: Clock, timeout_s: float) -> None:
    """Call :func:`learn_leaders` twice: a new idempotent ``producer`` then has its id at once, not after half a second.

    The client asks for its id whenever metadata arrive, but asks only brokers that are connected by then. The bootstrap
    connection does not count. Blocks and raises as ``learn_leaders`` does.
    """
    learn_leaders(producer, topic, clock=clock, timeout_s=timeout_s)
    clock.sleep_s(_LEADER_PAUSE_S)
    learn_leaders(producer, topic, clock=clock, timeout_s=timeout_s)
