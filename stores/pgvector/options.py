"""The options of a PostgreSQL store in the configuration."""

from __future__ import annotations

from ...references import Secret
from ..options import StoreOptions, TablePlacement


class Options(StoreOptions):
    """``url``: how to reach PostgreSQL, as libpq reads it."""

    url: Secret


class PlacementOptions(TablePlacement):
    """A table (``products`` or ``public.products``) and its columns."""
