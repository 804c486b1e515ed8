"""Control topic, ``route/<c>``: where reads go."""

from __future__ import annotations

from .record import Record


class Route(Record):
    """Where reads go: ``percent`` of the keys to ``new``, the others to ``old``. ``generation`` only grows."""

    generation: int
    old: str
    new: str
    percent: int
    changed_unix_s: float


def route_key(collection: str) -> str:
    """Key of Route."""
    return f"route/{collection}"
