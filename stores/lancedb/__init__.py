"""LanceDB: one table per collection, deleted ids and marks as rows of the same table, one guarded merge per batch."""

from __future__ import annotations

from ...errors import ConfigError
from ...references import local_path
from ...schemas.collection import Collection, Placement
from ..base import Store
from .options import Options

__all__ = ["open"]


def open(options: Options, collection: Collection, placement: Placement) -> Store:
    """Bind ``collection`` to its table in the database at ``options.uri``; nothing is read or written yet."""
    from .quirks import begin_use, defer_rest_client  # here: options are read where lancedb is not installed

    defer_rest_client()
    from .store import LanceStore

    begin_use().check()
    try:
        uri = local_path(options.uri.get_secret_value())
    except ValueError as error:
        raise ConfigError(f"uri: {error}") from None
    return LanceStore(uri, collection, placement, max_growth=options.max_growth)
