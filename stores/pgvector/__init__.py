"""PostgreSQL with pgvector: guard, ledger, row and marks in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from ...schemas.collection import Collection, Placement
from ..base import Store
from .store import PgvectorStore


def open(options: Mapping[str, str], collection: Collection, placement: Placement) -> Store:
    """The store at ``options["url"]``; connects when it is first used."""
    return PgvectorStore(options["url"], collection, placement)
