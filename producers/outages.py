"""Says once that Kafka no longer answers a publisher, and once that it does."""

from __future__ import annotations

from confluent_kafka import KafkaError

from ..kafka_contact import Contact
from .outstanding import Book


class Outages:
    """Told of the client's errors and of served reports. An acknowledged record ends an outage."""

    def __init__(self, contact: Contact, book: Book) -> None:
        self._contact = contact
        self._book = book
        self._acknowledged: tuple[int, ...] = ()

    def failed(self, error: KafkaError) -> None:
        """The client reports ``error``."""
        self._acknowledged = self._book.newest()
        self._contact.failed(error)

    def served(self) -> None:
        """Reports were served; some may be failures. Cheap while there is no outage."""
        if self._contact.away and self._book.newest() != self._acknowledged:
            self._contact.answered()
