"""Opening a replica of a collection in the store that it lies in."""

from __future__ import annotations

from .config import Config
from .errors import ConfigError
from .stores.base import Store
from .stores.registry import open_store


def open_replica(config: Config, collection: str, name: str) -> Store:
    """The store, opened as the replica ``name`` lies in it; the caller closes it. Connects lazily.

    Raises ConfigError, also for a secret of the store that is not there, and for a replica in another space than its
    collection's: nothing makes vectors of one space into vectors of another yet, so every row that it was given would
    be one of the wrong space.
    """
    replica, described = config.replica(collection, name), config.collection(collection)
    if replica.space != described.space:
        key = config.collections[collection].placements[name].space
        raise ConfigError(
            f"collections.{collection}.in.{name}: space {key!r} is another one than that of {collection}, and nothing "
            "can be moved between two spaces yet; remove the key, or give the replica a collection of its own"
        )
    return open_store(
        config.stores[replica.store].kind, config.store_options(replica.store), described, replica.placement
    )
