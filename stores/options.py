"""What a configuration says of a store, as models that each kind of store completes in an ``options.py`` of its own.

``options.py`` of a kind defines ``Options`` (its keys of ``[stores.NAME]``) and ``PlacementOptions`` (those of
``[collections.NAME.in.STORE]``). It must not import the client of the store: a configuration is read by processes that
have none.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib import import_module
from typing import Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from ..references import resolve
from ..schemas.collection import Placement
from .registry import KINDS


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreOptions(_Given):
    """A connection. Its fields are numbers, or ``references.Deferred``: never printed, looked up when it is opened."""

    def resolved(self) -> Self:
        """The same with every reference looked up; raises ValueError naming the key."""
        found = {}
        for key, value in self:
            if isinstance(value, SecretStr):
                try:
                    found[key] = SecretStr(resolve(value.get_secret_value()))
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        return self.model_copy(update=found)


class StorePlacement(_Given):
    """Where and how a replica of a collection lies in a store.

    ``store``: a ``[stores.NAME]``, "" for the one of the replica's name. ``space``: a ``[spaces.NAME]``, "" for the
    collection's own.
    """

    store: str = ""
    space: str = ""

    @abstractmethod
    def placement(self) -> Placement:
        """The value that the adapter takes."""


class TablePlacement(StorePlacement):
    """A table with columns; ``metadata`` is one JSON column or a list of typed ones, which may be empty."""

    table: str = Field(min_length=1)
    id: str = "id"
    vector: str = "vector"
    metadata: str | list[str] = "metadata"

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        names = [self.id, self.vector, *([self.metadata] if isinstance(self.metadata, str) else self.metadata)]
        for name in names:
            if not name:
                raise ValueError("the name of a column is empty; write it, or leave it out")
            if names.count(name) > 1:
                raise ValueError(f"column {name!r} is named {names.count(name)} times; a column has one use")
        return self

    def placement(self) -> Placement:
        """See ``StorePlacement``."""
        metadata = self.metadata if isinstance(self.metadata, str) else tuple(self.metadata)
        return Placement(table=self.table, id=self.id, vector=self.vector, metadata=metadata)


def options_model(kind: str) -> type[StoreOptions]:
    """The model of the connection options of ``kind``; KeyError for a kind that is not registered."""
    return cast(type[StoreOptions], import_module(f"{KINDS[kind]}.options", __package__).Options)


def placement_model(kind: str) -> type[StorePlacement]:
    """The model of the placement options of ``kind``; KeyError for a kind that is not registered."""
    return cast(type[StorePlacement], import_module(f"{KINDS[kind]}.options", __package__).PlacementOptions)
