"""Names of topics and consumer groups, derived from the namespace and the collection."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def check_name(what: str, name: str) -> str:
    """``name`` if it can be part of a topic's name, else ValueError (dots separate the parts, so none is allowed)."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r} may hold only letters, digits, '-' and '_' (1 to 60 of them)")
    return name


def events_topic(namespace: str, collection: str) -> str:
    """The live topic: every write of the collection, keyed by id."""
    return f"{namespace}.{collection}.events"


def snapshot_topic(namespace: str, collection: str, run: str) -> str:
    """The topic that one backfill run writes."""
    return f"{namespace}.{collection}.snapshot.{run}"


def dlq_topic(namespace: str, collection: str) -> str:
    """The dead-letter topic: compacted, keyed by where the letter comes from; a null value resolves it."""
    return f"{namespace}.{collection}.dlq"


def control_topic(namespace: str) -> str:
    """The compacted topic of routes, runs and migrations (one partition)."""
    return f"{namespace}.control"


def progress_topic(namespace: str) -> str:
    """The compacted topic on which workers publish how far their store has applied (one partition)."""
    return f"{namespace}.progress"


def group_id(namespace: str, collection: str, store: str) -> str:
    """The consumer group that feeds one store with one collection."""
    return f"{namespace}.{collection}.{store}"
