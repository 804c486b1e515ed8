"""Control topic, ``controller/<c>``: who steers a collection."""

from __future__ import annotations

from .record import Record


class ControllerRecord(Record):
    """The heartbeat of the process that steers a collection. ``urgent``: it moves reads back."""

    instance: str
    host: str
    pid: int
    command: str
    beat_unix_s: float
    urgent: bool = False


def controller_key(collection: str) -> str:
    """Key of ControllerRecord."""
    return f"controller/{collection}"
