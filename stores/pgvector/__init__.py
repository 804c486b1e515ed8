"""PostgreSQL with pgvector: guard, ledger, row and marks in one transaction."""

from __future__ import annotations

from ...schemas.collection import Collection, Placement
from ..base import Store
from .options import Options

__all__ = ["open"]


def open(options: Options, collection: Collection, placement: Placement) -> Store:
    """The store at ``options.url``; connects when it is first used."""
    from .store import PgvectorStore  # here: options are read where psycopg is not installed

    return PgvectorStore(options.url.get_secret_value(), collection, placement)
