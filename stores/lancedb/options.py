"""The options of a LanceDB store in the configuration."""

from __future__ import annotations

from pydantic import Field

from ...references import Deferred
from ..options import StoreOptions, TablePlacement


class Options(StoreOptions):
    """``uri``: a directory, or the address of an object store.

    ``max_growth``: a table in a directory takes at most that many times the space of a fresh copy, or 16 MiB. Old
    versions and files that are not merged yet make up the difference.
    """

    uri: Deferred
    max_growth: float = Field(default=4.0, ge=3.0)


class PlacementOptions(TablePlacement):
    """A Lance table and its columns."""
