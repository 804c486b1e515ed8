"""A log in memory, without threads: what a simulation or a test drives in place of Kafka."""

from .broker import Broker
from .log import MemoryLog

__all__ = ["Broker", "MemoryLog"]
