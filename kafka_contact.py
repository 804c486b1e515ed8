"""Whether Kafka answers a client, and why not: said once when it changes, however often the client repeats it."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import KafkaError

from .clock import SYSTEM_CLOCK, Clock
from .kafka_errors import AWAY, meaning_of

_log = logging.getLogger("vecferry.kafka.contact")

# The client repeats itself for as long as Kafka is away. After a longer silence, an error is a new one.
_SILENCE_S = 180.0
# What the client logs by itself for each attempt and each broker.
_REPEATED = frozenset({"FAIL", "ERROR", "REQTMOUT"})


def quieten(log: logging.Logger) -> None:
    """Leave what the client repeats about its connections out of ``log``, unless somebody debugs. Idempotent."""
    if _once_only not in log.filters:
        log.addFilter(_once_only)


def _once_only(record: logging.LogRecord) -> bool:
    facility = record.args[0] if isinstance(record.args, tuple) and len(record.args) == 3 else ""
    return facility not in _REPEATED or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


class Contact:
    """What the clients of one process know of the Kafka at ``address``; thread-safe, and cheap while all is well."""

    def __init__(self, address: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.address = address
        self._clock = clock
        self._lock = threading.Lock()
        self._cause: KafkaError | None = None
        self._failed_s = float("-inf")
        self._away = False

    @property
    def away(self) -> bool:
        """Whether it was said that Kafka does not answer, and not yet that it does."""
        return self._away

    def failed(self, error: KafkaError) -> None:
        """The client reports ``error``, of whichever broker: its ``error_cb``. Logs once per outage."""
        meaning = meaning_of(error)
        with self._lock:
            now_s = self._clock.monotonic_s()
            recent = now_s - self._failed_s < _SILENCE_S
            self._failed_s = now_s
            decided = recent and self._cause is not None and meaning_of(self._cause).decides
            if meaning.decides or not (decided or self._is_summary(error)):
                self._cause = error
            if not (meaning.decides or self._is_summary(error)) or (self._away and recent):
                return
            self._away = True
        _log.warning("%s; going on when it does", self.explain(error))

    def answered(self) -> None:
        """Kafka has answered a request, or taken a record."""
        if self._cause is None and not self._away:
            return
        with self._lock:
            was_away, self._away, self._cause = self._away, False, None
        if was_away:
            _log.warning("Kafka at %s answers again", self.address)

    def explain(self, error: KafkaError) -> str:
        """One line for people, with the remedy. If ``error`` says only that nobody answers, what came first counts."""
        reason = self._reason(error)
        return meaning_of(reason).said(self.address, reason.str())

    def _reason(self, error: KafkaError) -> KafkaError:
        cause = self._cause
        return cause if cause is not None and meaning_of(error) is AWAY else error

    @staticmethod
    def _is_summary(error: KafkaError) -> bool:
        """Whether it sums up the errors of single brokers, which came before and say more."""
        return bool(error.code() == KafkaError._ALL_BROKERS_DOWN)
