"""The newest records of a topic: where they lie and what their keys are."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..clock import Clock
from ..config import KafkaSection
from ..errors import Unavailable
from ..log.kafka.admin import Admin
from ..log.kafka.clients import REQUEST_TIMEOUT_S, consumer_config, unavailable
from ..log.port import Offsets
from ..schemas.position import next_offset
from .gates import GateResult
from .preflight import Sample, partitioner_check

SAMPLES_PER_PARTITION = 200

_POLL_S = 0.5


def sampled_partitioner_check(
    kafka: KafkaSection, admin: Admin, topic: str, partitions: int, clock: Clock
) -> GateResult:
    """``partitioner_check`` of the newest records of a live topic. Blocks while they are read; raises Unavailable."""
    samples = newest_records(kafka, topic, admin.offsets(topic, partitions), SAMPLES_PER_PARTITION, clock)
    return partitioner_check(samples, partitions)


def newest_records(
    kafka: KafkaSection, topic: str, offsets: Offsets, per_partition: int, clock: Clock
) -> tuple[Sample, ...]:
    """The last ``per_partition`` records of each partition, fewer where there are fewer. Joins no group.

    Blocks until every partition was read to its end as given; raises Unavailable when that takes too long.
    """
    bounds = list(zip(offsets.begin, offsets.end, strict=True))
    starts = {
        partition: max(begin, end - per_partition) for partition, (begin, end) in enumerate(bounds) if end > begin
    }
    if not starts:
        return ()
    consumer = Consumer({**consumer_config(kafka, "vecferry-doctor"), "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
        return tuple(_read(consumer, kafka, topic, starts, offsets.end, clock))
    except KafkaException as error:
        raise unavailable(kafka, error) from error
    finally:
        consumer.close()


def _read(
    consumer: Consumer, kafka: KafkaSection, topic: str, starts: dict[int, int], ends: Sequence[int], clock: Clock
) -> list[Sample]:
    samples: list[Sample] = []
    waiting = set(starts)
    deadline = clock.monotonic_s() + REQUEST_TIMEOUT_S
    while waiting:
        if clock.monotonic_s() > deadline:
            raise Unavailable(f"topic {topic} could not be read to its end within {REQUEST_TIMEOUT_S:g} s")
        for message in consumer.consume(num_messages=500, timeout=_POLL_S):
            partition, offset, error = message.partition(), message.offset(), message.error()
            if partition is None or offset is None:
                raise unavailable(kafka, error or KafkaError(KafkaError._FAIL))
            if error is None and offset < ends[partition]:
                key = message.key()
                samples.append(
                    Sample(partition=partition, offset=offset, key=key.encode() if isinstance(key, str) else key)
                )
            # The end of a partition may be a control record, which is never delivered: its EOF event tells.
            if next_offset(offset) >= ends[partition] or (
                error is not None and error.code() == KafkaError._PARTITION_EOF
            ):
                waiting.discard(partition)
    return samples
