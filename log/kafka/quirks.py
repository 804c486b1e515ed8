"""Work-arounds for faults of the Kafka client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException


@contextmanager
def unmasked() -> Iterator[None]:
    """Raise KafkaException for a fatal error also where the client loses it.

    ``Producer.flush`` and ``commit_transaction`` (2.16.1) go on to call callbacks while the exception of a fatal error
    is pending. Python then finds the callback, or the call, at fault: SystemError.
    """
    try:
        yield
    except SystemError as error:
        raise KafkaException(KafkaError(KafkaError._FATAL, "the client stopped for good")) from error
