"""The options of a LanceDB store in the configuration."""

from __future__ import annotations

from ...references import Deferred
from ..options import StoreOptions, TablePlacement


class Options(StoreOptions):
    """``uri``: a directory, or the address of an object store."""

    uri: Deferred


class PlacementOptions(TablePlacement):
    """A Lance table and its columns."""
