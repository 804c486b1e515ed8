"""A collection, its embedding space, and its placement in a store. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["cosine", "dot", "l2"]
IdType = Literal["text", "bigint", "uuid"]

MAX_ID_BYTES = 512
MAX_METADATA_BYTES = 256 * 1024
MAX_METADATA_DEPTH = 32  # levels below the metadata object itself; parsers that recurse die of a deep enough text
MAX_DIMENSION = 16_000
MAX_RECORD_BYTES = 900_000  # below Kafka's default max.message.bytes, headers and framing included


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """An embedding space. Vectors of different spaces are never compared with each other."""

    model: str
    version: str
    dimension: int
    metric: Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One collection: its space, its id type, and the partitions and epoch of its live topic."""

    name: str
    space: Space
    partitions: int
    epoch: int = 1
    id_type: IdType = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The table and columns of a collection in one store.

    ``metadata`` is the name of one JSON column (a ``str``), or the names of several typed columns (a ``tuple``).
    """

    table: str
    id: str = "id"
    vector: str = "vector"
    metadata: str | tuple[str, ...] = "metadata"

    @property
    def fields(self) -> tuple[str, ...] | None:
        """The only metadata keys that a row can have here; None: any."""
        return None if isinstance(self.metadata, str) else self.metadata


Role = Literal["from", "to", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One copy of a collection, fed by a consumer group of its own; topics, records and reports know it by ``name``.

    ``store``: the ``[stores.NAME]`` that it lies in; several may lie in one. ``role``: in the collection's migration.
    """

    name: str
    store: str
    placement: Placement
    space: Space
    role: Role = ""
