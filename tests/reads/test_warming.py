"""Every store that a route names, or a move may go to, is open and has answered once before a user asks it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from log_world import NAME
from memory_store import MemoryStore
from memory_world import MemoryWorld
from reads_fakes import key_on
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import Unavailable
from vecferry.journal.route import Route, between, route_key
from vecferry.journal.topic_watch import TopicWatch
from vecferry.reads.backend import Backend
from vecferry.reads.reader import Reader
from vecferry.stores.base import Store
from waiting import wait_until

MOVE = {"migrations": {NAME: {"from": "old", "to": "new"}}}


class Site(MemoryWorld):
    """``opened``: store -> how often it was opened. ``asked``: the stores asked in the thread of a reader's user."""

    def __init__(self) -> None:
        super().__init__(sections=MOVE)
        self.opened = {"old": 0, "new": 0}
        self.before: dict[str, Callable[[str], None]] = {}
        self.calls: list[tuple[str, str]] = []
        self.stores = {name: MemoryStore(self.collection, self._hook(name)) for name in self.opened}
        for store in self.stores.values():
            store.create(complete=True)
        self.generation = 0
        self.backend = Backend(
            self.config, self.log, TopicWatch(self.log, self.namespace, every_s=None), clock=SYSTEM_CLOCK
        )

    def _hook(self, name: str) -> Callable[[str], None]:
        def called(method: str) -> None:
            self.calls.append((name, method))
            self.before.get(name, lambda _: None)(method)

        return called

    def open_replica(self, config: object, collection: str, name: str) -> Store:
        self.opened[name] += 1
        return self.stores[name]

    def route(self, percent: int) -> None:
        self.generation += 1
        record = Route(generation=self.generation, weights=between("old", "new", percent), changed_unix_s=0.0)
        self.log.writer(self.namespace, NAME).write({route_key(NAME): record})
        for table in self.log.tables:
            table.catch_up()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    world = Site()
    monkeypatch.setattr("vecferry.reads.backend.open_replica", world.open_replica)
    yield world
    world.backend.close()


def opened_reader(site: Site) -> Reader:
    reader = site.backend.reader(NAME)
    reader.open(30.0)
    return reader


def test_the_first_user_on_a_canary_waits_for_no_opening_after_a_restart(site: Site) -> None:
    site.route(25)
    reader = opened_reader(site)
    opened = dict(site.opened)  # a store whose marks are read at that moment gets a second handle
    assert set(opened) == {"old", "new"}
    assert {("old", "search"), ("new", "search"), ("new", "fetch")} <= set(site.calls)
    for store in ("old", "new"):
        assert reader.get(["a"], key=key_on(store, 25)) == []
    assert site.opened == opened
    assert reader.stats.reads == {"old": 1, "new": 1}


def test_a_coroutine_that_enters_its_reader_finds_every_store_open(site: Site) -> None:
    site.route(25)

    async def main() -> None:
        async with site.backend.async_reader(NAME, max_reads=2) as reader:
            assert set(site.opened) == {"old", "new"}
            assert await reader.get(["a"], key=key_on("new", 25)) == []

    asyncio.run(main())
    assert site.opened == {"old": 1, "new": 1}


def test_the_target_of_a_possible_move_is_opened_ahead_and_keeps_nobody_waiting(site: Site) -> None:
    release = threading.Event()
    site.before["new"] = lambda method: release.wait(30) and None
    reader = opened_reader(site)
    assert reader.get(["a"]) == []
    assert reader.route is not None
    assert reader.route.percent == 0
    release.set()
    wait_until(lambda: ("new", "fetch") in site.calls)
    assert site.opened == {"old": 1, "new": 1}


def test_a_target_that_cannot_be_opened_yet_disturbs_nobody(site: Site) -> None:
    def absent(method: str) -> None:
        raise Unavailable("it is not there yet")

    site.before["new"] = absent
    reader = opened_reader(site)
    assert reader.get(["a"]) == []
    wait_until(lambda: any(store == "new" for store, _ in site.calls))
    assert reader.get(["a"]) == []
    site.before.clear()
    site.route(100)
    wait_until(lambda: reader.get(["a"]) == [] and reader.route is not None and reader.route.percent == 100)
    assert ("new", "search") in site.calls


def test_a_route_is_used_once_its_stores_have_answered_as_many_users_as_there_are(site: Site) -> None:
    reader = opened_reader(site)
    wait_until(lambda: ("new", "fetch") in site.calls)
    meeting = threading.Barrier(3)
    site.before["old"] = lambda method: meeting.wait(30) and None if method == "fetch" else None
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda _: reader.get(["a"], timeout=30.0), range(3))) == [[], [], []]
    site.before.clear()
    assert site.opened == {"old": 3, "new": 1}
    site.route(100)
    wait_until(lambda: reader.get(["a"]) == [] and reader.route is not None and reader.route.percent == 100)
    assert site.opened == {"old": 3, "new": 3}
