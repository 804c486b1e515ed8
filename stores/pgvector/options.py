"""The options of a PostgreSQL store in the configuration."""

from __future__ import annotations

from ...references import Deferred
from ..options import StoreOptions, TablePlacement


class Options(StoreOptions):
    """``url``: how to reach PostgreSQL, as libpq reads it."""

    url: Deferred


class PlacementOptions(TablePlacement):
    """A table (``products`` or ``public.products``) and its columns."""
