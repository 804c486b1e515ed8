"""How the store suites get at a real store of each kind.

A kind is tested when ``tests/support/harness_<kind>.py`` exists with

    SERVER: bool                         its tests need a server (they get the mark ``server``)
    def place(request) -> Iterator[Mapping[str, str]]
        a generator: yields the options of an empty place of its own (what ``[stores.NAME]`` holds), then cleans up;
        may use ``request.getfixturevalue("postgres_url")`` or ``("tmp_path")``
    def make_existing(options, collection, placement, rows: Sequence[Seed]) -> None
        make the application's table as it was before the pipeline, with its rows: no position, no ledger
    def drop_table(options, placement) -> None
        drop the table of the placement and nothing else, as someone does who does not know of vecferry
    def physical_rows(options, placement, id_: str) -> int
        how many live rows of ``id_`` the store really holds, read without the adapter
    def make_typed(options, collection, placement) -> None
        make the application's table with typed columns: ``rank`` (64 bits), ``small`` (16 bits), ``price`` (a float of
        64 bits), ``title`` (text)
    def alter(options, placement, change: str, *, undo=False) -> None
        alter that table, as someone does who does not know of vecferry: "add" a column that is not mapped, "drop" the
        column price, "rename" it, "cast" rank to 16 bits, "widen" small to 64 bits; and back

``test_store_registry`` fails for a kind without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast

import pytest
from memory_store import MemoryStore
from store_data import Seed
from vecferry.schemas.collection import Collection, Placement
from vecferry.stores.base import Store
from vecferry.stores.options import options_model
from vecferry.stores.registry import open_store


class Harness(Protocol):
    """The module above."""

    SERVER: bool

    def place(self, request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]: ...

    def make_existing(
        self, options: Mapping[str, str], collection: Collection, placement: Placement, rows: Sequence[Seed]
    ) -> None: ...

    def drop_table(self, options: Mapping[str, str], placement: Placement) -> None: ...

    def physical_rows(self, options: Mapping[str, str], placement: Placement, id_: str) -> int: ...

    def make_typed(self, options: Mapping[str, str], collection: Collection, placement: Placement) -> None: ...

    def alter(self, options: Mapping[str, str], placement: Placement, change: str, *, undo: bool = False) -> None: ...


def open_given(kind: str, options: Mapping[str, str], collection: Collection, placement: Placement) -> Store:
    """``open_store`` with the options as ``[stores.NAME]`` holds them."""
    return open_store(kind, options_model(kind).model_validate(options), collection, placement)


def harness(kind: str) -> Harness:
    """The harness of a kind; ModuleNotFoundError if it has none."""
    return cast(Harness, import_module(f"harness_{kind}"))


@dataclass(slots=True, kw_only=True)
class StoreFactory:
    """Opens stores of one kind in one empty place, and closes them after the test."""

    kind: str
    options: Mapping[str, str]
    opened: list[Store] = field(default_factory=list)

    def open(self, collection: Collection, placement: Placement) -> Store:
        """Another handle; nothing is created."""
        store = (
            MemoryStore(collection)
            if self.kind == "memory"
            else open_given(self.kind, self.options, collection, placement)
        )
        self.opened.append(store)
        return store

    def __call__(self, collection: Collection, placement: Placement, existing: Sequence[Seed] | None = None) -> Store:
        """A store ready for use: a new table, or (``existing``) the application's own, enrolled as a source."""
        if existing is not None:
            self.make_existing(collection, placement, existing)
        store = self.open(collection, placement)
        store.create(complete=existing is not None)
        return store

    def make_existing(self, collection: Collection, placement: Placement, rows: Sequence[Seed]) -> None:
        """Only make the application's table."""
        harness(self.kind).make_existing(self.options, collection, placement, rows)

    def drop_table(self, placement: Placement) -> None:
        """Drop the application's side of the table only."""
        harness(self.kind).drop_table(self.options, placement)

    def physical_rows(self, placement: Placement, id_: str) -> int:
        """Live rows of ``id_`` as the store itself sees them."""
        return harness(self.kind).physical_rows(self.options, placement, id_)

    def make_typed(self, collection: Collection, placement: Placement) -> None:
        """Only make the application's table, with typed columns."""
        harness(self.kind).make_typed(self.options, collection, placement)

    def alter(self, placement: Placement, change: str, *, undo: bool = False) -> None:
        """Alter that table."""
        harness(self.kind).alter(self.options, placement, change, undo=undo)

    def close(self) -> None:
        """Close every handle."""
        for store in self.opened:
            store.close()
