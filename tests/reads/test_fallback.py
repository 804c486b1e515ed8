"""When a store fails or hangs: another one answers if it may, and the caller's time is kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from reads_fakes import TOPIC, World, elapsed_s, failing, key_on, serve, version_of
from vecferry.errors import Fatal, Inconclusive, Transient
from vecferry.reads.reader import Reader
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken
from waiting import wait_until

pytestmark = pytest.mark.slow


def test_a_failing_canary_read_falls_back_within_its_deadline() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader()
    serve(world, reader, 50)
    world.before["new"] = failing("fetch", "search", error=Fatal("disk on fire"))
    key = key_on("new", 50)
    with ThreadPoolExecutor(20) as threads:
        reads = [threads.submit(version_of, reader, "a", key=key, timeout=20.0) for _ in range(40)]
        assert [read.result() for read in reads] == [1] * 40
    assert reader.stats.fallbacks >= 1
    assert reader.route.percent == 0  # type: ignore[union-attr]
    world.before.clear()
    wait_until(lambda: version_of(reader, "a", key=key) == 1 and reader.route.percent == 50)  # type: ignore[union-attr]


def test_a_canary_does_not_fall_back_to_a_store_that_knows_less() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader(barrier_s=0.2)
    serve(world, reader, 50)
    world.write("a", 2)
    world.apply("new")
    key = key_on("new", 50)
    assert version_of(reader, "a", key=key) == 2
    world.before["new"] = failing("fetch", error=Fatal("disk on fire"))
    with pytest.raises(Fatal, match="disk on fire"):
        version_of(reader, "a", key=key, timeout=5.0)
    world.apply("old")
    assert version_of(reader, "a", key=key, timeout=20.0) == 2


def test_after_a_full_cutover_a_failure_is_the_callers() -> None:
    world = World()
    world.apply("new")
    reader = world.reader()
    world.route(100)
    world.before["new"] = failing("fetch", error=Fatal("disk on fire"))
    with pytest.raises(Fatal):
        version_of(reader, "a")


def test_rolling_back_rescues_reads_from_a_store_that_hangs() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader()
    serve(world, reader, 0)
    serve(world, reader, 100)
    hung, release = threading.Event(), threading.Event()

    def hang(method: str) -> None:
        if method == "fetch":
            hung.set()
            release.wait(30)

    world.before["new"] = hang
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(version_of, reader, "a", timeout=30.0)
        assert hung.wait(20)
        served, hanging = reader.stats.reads["old"], reader.stats.reads["new"]
        world.route(0)
        wait_until(lambda: _old_serves(reader, served))
        release.set()
        assert read.result(20) == 1
    assert reader.stats.rereads >= 1
    assert reader.stats.reads["new"] == hanging


def _old_serves(reader: Reader, served: int) -> bool:
    try:
        version_of(reader, "a", timeout=0.5)
    except Inconclusive:
        return False
    return reader.stats.reads["old"] > served


def test_a_token_beyond_the_end_of_the_log_does_not_move_the_reads_of_others() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader()
    serve(world, reader, 50)
    token = WriteToken(TOPIC, {0: encode_position(1, 10**9)})
    with pytest.raises(Inconclusive, match="readers partition 0 up to offset 1 only, because a transaction"):
        version_of(reader, "a", key=key_on("new", 50), after=token, timeout=0.4)
    version_of(reader, "a")
    assert reader.route.percent == 50  # type: ignore[union-attr]
    assert reader.stats.fallbacks == 0


def test_a_transient_failure_is_tried_again_on_a_new_handle() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    failures = [Transient("connection lost")]

    def once(method: str) -> None:
        if method == "fetch" and failures:
            raise failures.pop()

    world.before["old"] = once
    assert version_of(world.reader(), "a") == 1
    assert failures == []


def test_a_read_ends_with_its_time_out_whatever_the_store_does() -> None:
    world = World()
    release = threading.Event()
    world.before["old"] = lambda method: release.wait(60) and None
    reader = world.reader()

    def read() -> None:
        with pytest.raises(Inconclusive, match="store 'old' did not answer in time"):
            version_of(reader, "a", timeout=0.3)

    try:
        assert elapsed_s(read) < 20
    finally:
        release.set()
