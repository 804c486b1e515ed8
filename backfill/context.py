"""What a run works with, gathered once."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import Producer

from ..clock import Clock
from ..config import Config
from ..log.port import Admin, Table, Writer
from ..schemas.collection import Collection
from ..schemas.topics import events_topic
from ..stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Everything that a run of ``collection`` reads from and writes to; whoever makes it closes its parts.

    ``source`` must be opened for this context alone: the copy uses it from a thread of its own. ``producer`` is that of
    ``snapshot_producer``, and serves one run.
    """

    config: Config
    collection: str
    source_name: str
    source: Store
    control: Table
    progress: Table
    dead_letters: Table
    writer: Writer
    producer: Producer
    admin: Admin
    clock: Clock

    @property
    def resolved(self) -> Collection:
        """The collection as configured."""
        return self.config.collection(self.collection)

    @property
    def live_topic(self) -> str:
        """Name of the live topic."""
        return events_topic(self.config.namespace, self.collection)
