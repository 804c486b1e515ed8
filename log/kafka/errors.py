"""Errors of the Kafka client as vecferry's own, and what the clients of one configuration know of their Kafka."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import KafkaError, KafkaException

from ...config import KafkaSection
from ...errors import Unavailable, VecferryError
from ...kafka_contact import Contact, quieten
from ...kafka_errors import ABSENT, TOO_LARGE, meaning_of
from ..port import TooLarge, TopicAbsent

LOG = logging.getLogger("vecferry.kafka")
# Producers, consumers and admin clients share [kafka.client]; each would warn of properties that only others have.
LOG.addFilter(lambda record: "and will be ignored by this" not in record.getMessage())
quieten(LOG)

_contacts: dict[int, Contact] = {}
_contacts_lock = threading.Lock()


def contact_of(kafka: KafkaSection) -> Contact:
    """What this process knows of the Kafka that ``kafka`` describes; the same for all clients with that section."""
    settings = sorted((key, value.get_secret_value()) for key, value in kafka.client.items())
    key = hash((kafka.bootstrap_servers, *map(str, settings)))
    with _contacts_lock:
        if key not in _contacts:
            _contacts[key] = Contact(kafka.bootstrap_servers)
        return _contacts[key]


def unavailable(kafka: KafkaSection, error: KafkaException | KafkaError) -> Unavailable:
    """What to raise for an error of the client: TopicAbsent, or Unavailable; one line, with the remedy."""
    reason = reason_of(error)
    said = contact_of(kafka).explain(reason)
    return TopicAbsent(said) if meaning_of(reason) is ABSENT else Unavailable(said)


def refusal_of_record(kafka: KafkaSection, topic: str, error: KafkaError) -> VecferryError:
    """What a record that was not taken has failed of: TooLarge, TopicAbsent or Unavailable."""
    if meaning_of(error) is TOO_LARGE:
        return TooLarge(f"topic {topic} does not take a record of this size; raise its max.message.bytes")
    return unavailable(kafka, error)


def reason_of(error: KafkaException | KafkaError) -> KafkaError:
    """The client's own error. An exception of the client may hold a mere text."""
    reason = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return reason if isinstance(reason, KafkaError) else KafkaError(KafkaError._FAIL, str(reason))
