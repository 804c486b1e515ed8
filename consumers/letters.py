"""Dead letters: a record that can never be applied, kept whole, with its reason, before its offset is passed.

The worker's log has one line for each of them, until there are too many to read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, Producer

from ..clock import Clock
from ..config import KafkaSection
from ..errors import Unavailable
from ..kafka.clients import producer_config, unavailable
from ..schemas.dead_letters import Origin

_log = logging.getLogger("vecferry.worker")

LINES = 10
WINDOW_S = 10.0

_ACK_TIMEOUT_S = 60.0
_LONGEST_ID = 100
_LONGEST_REASON = 300


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
    """Sends letters of ``collection``, waits until Kafka has them, and warns of them. Used by one thread."""

    def __init__(self, kafka: KafkaSection, topic: str, collection: str, clock: Clock) -> None:
        self._said = LetterLog(collection, clock)
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
        self._said.note(letters)


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


class LetterLog:
    """Warns of the letters of one collection: at most ``LINES`` of them within ``WINDOW_S``, then their number."""

    def __init__(self, collection: str, clock: Clock) -> None:
        self._collection = collection
        self._clock = clock
        self._window_ends_s = float("-inf")
        self._listed = 0
        self._passed_over = 0

    def note(self, letters: Sequence[Letter]) -> None:
        """Warn of ``letters``, which Kafka has."""
        now_s = self._clock.monotonic_s()
        if letters and now_s >= self._window_ends_s:
            self._window_ends_s, self._listed = now_s + WINDOW_S, 0
            if self._passed_over:
                _log.warning(
                    "%s: %d dead letters were not listed; `vecferry dlq list %s` shows all",
                    self._collection,
                    self._passed_over,
                    self._collection,
                )
                self._passed_over = 0
        room = LINES - self._listed
        for letter in letters[:room]:
            _log.warning("%s", describe(self._collection, letter))
        self._listed += len(letters[:room])
        if letters[room:] and not self._passed_over:
            _log.warning(
                "%s: more dead letters follow, not listed for %.0f s; `vecferry dlq list %s` shows all",
                self._collection,
                self._window_ends_s - now_s,
                self._collection,
            )
        self._passed_over += len(letters[room:])


def describe(collection: str, letter: Letter) -> str:
    """The line for ``letter``: where it comes from, its id if there is one, and why."""
    origin = letter.origin
    id_ = "no id" if letter.key is None else f"id {_short(letter.key.decode('utf-8', 'backslashreplace'), _LONGEST_ID)}"
    row = f" row {origin.row}" if origin.row else ""
    return (
        f"{collection}: dead letter, {origin.store} cannot take {origin.topic} [{origin.partition}] "
        f"offset {origin.offset}{row}, {id_}: {_short(letter.reason, _LONGEST_REASON)}"
    )


def _short(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"
