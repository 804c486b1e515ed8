"""Opening before the first read and before a move, so that no read pays for it."""

from __future__ import annotations

import threading

import pytest
from reads_fakes import World, serve, version_of
from vecferry.errors import Unavailable
from vecferry.reads.pool import StorePool
from vecferry.stores.base import Store
from waiting import wait_until


def counting(world: World) -> list[str]:
    """The names of the stores opened from now on."""
    opened: list[str] = []

    def open_store(name: str) -> Store:
        opened.append(name)
        return world.stores[name]

    world.pool = StorePool(open_store)
    world.shared = world.make_progress()
    return opened


def test_an_opened_reader_has_its_store() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    opened = counting(world)
    reader = world.reader()
    assert opened == []
    reader.open(10.0)
    assert opened == ["old"]
    assert version_of(reader, "a") == 1
    assert opened == ["old"]


def test_opening_leaves_what_fails_to_the_read() -> None:
    world = World()

    def refuse(name: str) -> Store:
        raise Unavailable(f"{name} is away")

    world.pool = StorePool(refuse)
    world.shared = world.make_progress()
    reader = world.reader()
    reader.open(10.0)
    with pytest.raises(Unavailable, match="old is away"):
        reader.get(["a"], timeout=1.0)


def test_reads_go_on_where_they_are_until_the_new_store_is_open() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    may_open = threading.Event()

    def open_store(name: str) -> Store:
        if name == "new":
            assert may_open.wait(30)
        return world.stores[name]

    world.pool = StorePool(open_store)
    world.shared = world.make_progress()
    reader = world.reader()
    serve(world, reader, 0)
    world.route(100)
    assert [version_of(reader, "a", timeout=20.0) for _ in range(20)] == [1] * 20
    assert reader.stats.reads == {"old": reader.stats.reads["old"]}
    may_open.set()
    wait_until(lambda: version_of(reader, "a") == 1 and reader.route.percent == 100)  # type: ignore[union-attr]
