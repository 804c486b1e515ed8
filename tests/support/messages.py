"""Messages as the client hands them over, made by hand."""

from __future__ import annotations

from confluent_kafka import KafkaError


class Message:
    """What a worker reads of a ``confluent_kafka.Message``."""

    def __init__(
        self, topic: str, partition: int, offset: int, value: bytes | None, error: KafkaError | None = None
    ) -> None:
        self._place, self._offset, self._value, self._error = (topic, partition), offset, value, error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"a"

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> None:
        return None

    def error(self) -> KafkaError | None:
        return self._error

    def __len__(self) -> int:
        return len(self._value or b"")
