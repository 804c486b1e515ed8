"""Dead letters: a record that can never be applied, kept whole, with its reason, before its offset is passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, Producer

from ..config import KafkaSection
from ..errors import Unavailable
from ..kafka.clients import producer_config, unavailable
from ..schemas.dead_letters import Origin

_ACK_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One record for the dead-letter topic: its original key, value and headers, where it comes from and why."""

    origin: Origin
    reason: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    position: int


class LetterBox:
    """Sends letters and waits until Kafka has them. Used by one thread."""

    def __init__(self, kafka: KafkaSection, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._producer: Producer | None = None

    def post(self, letters: Sequence[Letter]) -> None:
        """Block until every letter is acknowledged; raises Unavailable: then no offset of theirs may be passed."""
        if not letters:
            return
        if self._producer is None:  # most workers never need one
            self._producer = Producer(producer_config(self._kafka))
        failures: list[Any] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failures.append(error)

        try:
            for letter in letters:
                self._producer.produce(
                    self._topic,
                    partition=0,
                    key=letter.origin.key().encode(),
                    # A null value would read as "resolved".
                    value=b"" if letter.value is None else letter.value,
                    headers=_headers(letter),
                    on_delivery=delivered,
                )
            left = self._producer.flush(_ACK_TIMEOUT_S)
        except KafkaException as error:
            raise unavailable(self._kafka, error) from error
        if failures:
            raise unavailable(self._kafka, failures[0])
        if left:
            raise Unavailable(
                f"topic {self._topic} did not acknowledge {left} dead letters within {_ACK_TIMEOUT_S:g} s"
            )


def _headers(letter: Letter) -> list[tuple[str, str | bytes | None]]:
    ours: list[tuple[str, str | bytes | None]] = [
        ("vecferry.reason", letter.reason.encode()),
        ("vecferry.topic", letter.origin.topic.encode()),
        ("vecferry.partition", str(letter.origin.partition).encode()),
        ("vecferry.offset", str(letter.origin.offset).encode()),
        ("vecferry.position", str(letter.position).encode()),
        ("vecferry.store", letter.origin.store.encode()),
        ("vecferry.key", letter.key),
        ("vecferry.null-value", b"1" if letter.value is None else b"0"),
    ]
    return [*letter.headers, *ours]  # of two headers of one name the last counts: ours
