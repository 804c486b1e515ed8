"""LanceDB: one table per collection, deleted ids and marks as rows of the same table, one guarded merge per batch."""

from __future__ import annotations

from collections.abc import Mapping

from ...schemas.collection import Collection, Placement
from ..base import Store
from . import rest_client  # noqa: F401  before anything imports lancedb
from .store import LanceStore

__all__ = ["open"]


def open(options: Mapping[str, str], collection: Collection, placement: Placement) -> Store:
    """Bind ``collection`` to its table in the database at ``options["uri"]``; nothing is read or written yet."""
    return LanceStore(options["uri"], collection, placement)
