"""Hundreds of threads read through one reader while the route flips and the stores lag: none may see an older state.

The same run with a reader that does not wait for stores must be caught, or the checker would prove nothing.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from reads_fakes import World, version_of
from vecferry.reads.deadline import Deadline
from vecferry.reads.reader import Reader
from vecferry.reads.session import Session
from vecferry.reads.watermarks import Lag, Watermarks
from waiting import wait_until

THREADS = 200
KEYS = [f"user-{n}" for n in range(9)]
SEED = 20_260_101


class NoBarrier(Watermarks):
    """Says that every store has caught up."""

    def catch_up(
        self, stores: Iterable[str], deadline: Deadline, given_up: Callable[[], bool] = lambda: False
    ) -> Lag | None:
        return None


class Traffic:
    """A writer, two stores that follow at their own pace, and readers that check what they see."""

    def __init__(self, world: World, reader: Reader) -> None:
        self.world, self.reader = world, reader
        self.stop = threading.Event()
        self.stalled = threading.Event()  # while set, the store ``new`` applies nothing
        self.problems: list[str] = []
        self.reads = 0
        self._seen = dict.fromkeys(KEYS, 0)
        self._lock = threading.Lock()

    def write(self) -> None:
        version = 0
        while not self.stop.wait(0.001):
            version += 1
            self.world.write("counter", version)

    def follow(self, name: str, seed: int) -> None:
        pace = random.Random(seed)
        while not self.stop.wait(pace.uniform(0.0, 0.03)):
            if not (name == "new" and self.stalled.is_set()):
                self.world.apply(name)

    def read(self, seed: int) -> None:
        pick = random.Random(seed)
        while not self.stop.is_set():
            key = pick.choice(KEYS)
            with self._lock:
                at_least = self._seen[key]
            try:
                version = version_of(self.reader, "counter", key=key, timeout=30.0)
            except Exception as error:  # noqa: BLE001  # every failure of a read is a finding
                self.problems.append(repr(error))
                return
            with self._lock:
                self.reads += 1
                self._seen[key] = max(version, self._seen[key])
                if version < at_least:
                    self.problems.append(f"{key} saw {version} after {at_least}")

    def run(self, script: Callable[[Traffic], None]) -> None:
        with ThreadPoolExecutor(THREADS + 3) as threads:
            threads.submit(self.write)
            for n, name in enumerate(self.world.stores):
                threads.submit(self.follow, name, SEED + n)
            for n in range(THREADS):
                threads.submit(self.read, SEED + 100 + n)
            try:
                script(self)
            finally:
                self.stop.set()


def flip(traffic: Traffic) -> None:
    """Forward and back, in steps and at once; once onto a store that stands still."""
    world, reader = traffic.world, traffic.reader
    for percent in (0, 25, 50, 100, 0, 100, 5, 60, 0):
        world.route(percent)
        wait_until(lambda: traffic.problems or _serves(reader, world.generation), what=f"the move to {percent} %")
    traffic.stalled.set()
    wait_until(lambda: world.ends(1.0)[0] > world.stores["new"].live[0] + 20, what="the new store to fall behind")
    refused, before = reader.stats.refused_moves, traffic.reads
    world.route(100)
    wait_until(lambda: traffic.problems or reader.stats.refused_moves > refused, what="a move put off")
    wait_until(lambda: traffic.problems or traffic.reads > before + THREADS, what="reads while the move waits")
    assert traffic.problems or not _serves(reader, world.generation)
    traffic.stalled.clear()
    wait_until(lambda: traffic.problems or _serves(reader, world.generation), what="the move after all")


def _serves(reader: Reader, generation: int) -> bool:
    return reader.route is not None and reader.route.generation == generation


def test_no_read_sees_less_than_an_earlier_one_while_the_route_flips() -> None:
    world = World()
    reader = world.reader(barrier_s=1.0)
    traffic = Traffic(world, reader)
    traffic.run(flip)
    assert traffic.problems == []
    assert reader.stats.moves >= 9
    assert min(reader.stats.reads["old"], reader.stats.reads["new"]) > THREADS
    assert reader.stats.rereads > 0, "no read was under way on the store that a move left"


def test_a_reader_that_does_not_wait_is_caught() -> None:
    world = World()
    world.shared.__class__ = NoBarrier
    traffic = Traffic(world, world.reader())

    def without_waiting(traffic: Traffic) -> None:
        world.apply("old")
        traffic.stalled.set()
        wait_until(lambda: world.stores["old"].live[0] > world.stores["new"].live[0] + 20)
        wait_until(lambda: traffic.reads > THREADS)
        world.route(100)
        wait_until(lambda: traffic.problems, what="a read that goes back")

    traffic.run(without_waiting)
    assert "after" in traffic.problems[0]


def test_sessions_that_hop_between_processes_never_go_back() -> None:
    """Two readers, as two processes, learn of the route at different times; each session passes as text."""
    world = World()
    behind = World()
    behind.stores, behind.log, behind.lock = world.stores, world.log, world.lock  # the same data, its own control topic
    behind.progress = world.progress
    readers = [world.reader(), behind.reader()]
    traffic = Traffic(world, readers[0])

    def hop(seed: int) -> None:
        pick = random.Random(seed)
        text, seen = str(Session()), 0
        while not traffic.stop.is_set():
            session = Session.parse(text)
            version = version_of(pick.choice(readers), "counter", session=session, timeout=30.0)
            if version < seen:
                traffic.problems.append(f"a session saw {version} after {seen}")
            text, seen = str(session), version

    with ThreadPoolExecutor(40) as threads:
        hops = [threads.submit(hop, SEED + n) for n in range(30)]
        threads.submit(traffic.write)
        for n, name in enumerate(world.stores):
            threads.submit(traffic.follow, name, SEED + n)
        try:
            for percent in (0, 50, 100, 0, 100):
                world.route(percent)
                wait_until(lambda: traffic.problems or _serves(readers[0], world.generation))
                enough = sum(readers[1].stats.reads.values()) + 50
                wait_until(lambda enough=enough: traffic.problems or sum(readers[1].stats.reads.values()) > enough)
                behind.route(percent)
                wait_until(lambda: traffic.problems or _serves(readers[1], behind.generation))
        finally:
            traffic.stop.set()
    assert [hop.exception() for hop in hops if hop.exception()] == []
    assert traffic.problems == []
    assert sum(reader.stats.waits for reader in readers) > 0
