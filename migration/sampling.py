"""The newest records of a live topic: where they lie and what their keys are."""

from __future__ import annotations

from ..log.port import Log
from .gates import GateResult
from .preflight import Sample, partitioner_check

SAMPLES_PER_PARTITION = 200


def sampled_partitioner_check(log: Log, topic: str, partitions: int) -> GateResult:
    """``partitioner_check`` of the newest records of a live topic. Blocks while they are read; raises Unavailable."""
    newest = log.newest(topic, partitions, SAMPLES_PER_PARTITION)
    samples = [Sample(partition=found.partition(), offset=found.offset(), key=found.key()) for found in newest]
    return partitioner_check(samples, partitions)
