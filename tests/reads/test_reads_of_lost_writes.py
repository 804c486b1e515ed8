"""A store that has lost writes which it had applied: a server took over that lacks them, or a backup came back.

Nobody writes meanwhile, so the worker of the store notices nothing, and its reports stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from memory_store import MemoryStore
from reads_fakes import COLLECTION, World, failing, serve, version_of
from vecferry.errors import Inconclusive, Transient, Unavailable
from vecferry.log.port import TopicAbsent
from vecferry.reads.reader import Reader
from vecferry.reads.session import Session
from waiting import wait_until

pytestmark = pytest.mark.slow

BROKEN = failing("fetch", "applied", error=Transient("the server closed the connection"))


@pytest.fixture
def world() -> Iterator[World]:
    """Row ``a`` is at version 2 in both stores."""
    made = World()
    for version in (1, 2):
        made.write("a", version)
        for name in made.stores:
            made.apply(name)
    yield made
    made.pool.close()


def fail_over(world: World, name: str, *, breaks: bool = True) -> None:
    """Store ``name`` is back at version 1; with ``breaks`` the connections to the server before are broken."""
    behind = MemoryStore(COLLECTION)
    behind.create(complete=True)
    if not breaks:
        world.stores[name].rows.clear()
        world.stores[name].live.update(behind.live)
        behind = world.stores[name]
    else:
        world.before[name] = BROKEN
        world.stores[name] = behind
    publishes, world.publishes_progress = world.publishes_progress, False
    world.apply(name, {0: 1})
    world.publishes_progress = publishes


@pytest.mark.parametrize("asks_for", ["nothing", "its session", "its write"])
def test_reads_never_go_back_when_a_server_takes_over_that_lacks_the_last_write(world: World, asks_for: str) -> None:
    reader, session = world.reader(), Session()
    token = world.write("a", 3)
    world.apply("old")
    choices: dict[str, dict[str, object]] = {
        "nothing": {},
        "its session": {"session": session},
        "its write": {"after": token},
    }
    asked = choices[asks_for]
    assert version_of(reader, "a", **asked) == 3
    fail_over(world, "old")
    with pytest.raises(Inconclusive, match=r"store 'old' has lost writes: .* partition 0 up to offset 3 and is at 1"):
        version_of(reader, "a", timeout=1.3, **asked)
    world.apply("old")  # its worker was started anew
    assert version_of(reader, "a", **asked) == 3


def test_a_session_that_comes_from_another_process_does_not_go_back_either(world: World) -> None:
    session = Session()
    assert version_of(world.reader(), "a", session=session) == 2
    fail_over(world, "old")
    other = World()
    other.stores, other.log, other.progress = world.stores, world.log, world.progress
    with pytest.raises(Inconclusive, match="has lost writes"):
        version_of(other.reader(), "a", session=Session.parse(str(session)), timeout=1.3)


@pytest.mark.parametrize("breaks", [True, False])
def test_a_rollback_does_not_take_reads_to_a_store_that_lost_what_was_reported(world: World, breaks: bool) -> None:
    reader = world.reader(barrier_s=0.3)
    assert version_of(reader, "a") == 2  # a connection to the old store stays open
    serve(world, reader, 100)
    fail_over(world, "old", breaks=breaks)
    world.route(0)
    wait_until(lambda: version_of(reader, "a") == 2 and reader.stats.refused_moves >= 2)
    assert reader.route is not None
    assert reader.route.percent == 100
    world.apply("old")
    wait_until(lambda: version_of(reader, "a") == 2 and reader.route.percent == 0)


def test_a_canary_that_lost_writes_is_stepped_aside_from(world: World) -> None:
    reader = world.reader()
    serve(world, reader, 50)
    key = next(key for key in map(str, range(100)) if reads_from(world, reader, key) == "new")
    fail_over(world, "new")
    assert version_of(reader, "a", key=key) == 2
    assert reader.stats.fallbacks > 0


def reads_from(world: World, reader: Reader, key: str) -> str:
    before = reader.stats.reads
    assert version_of(reader, "a", key=key) == 2
    after = reader.stats.reads
    return next(store for store in world.stores if after.get(store, 0) > before.get(store, 0))


def test_a_store_is_not_read_before_it_is_known_what_was_reported_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(timeout_s: float) -> None:
        raise Unavailable("Kafka does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.progress, "sync", away)
        with pytest.raises(Unavailable, match="Kafka does not answer"):
            version_of(world.reader(), "a")
    assert version_of(world.reader(), "a") == 2
    with monkeypatch.context() as patch:  # once read, it is known for good
        patch.setattr(world.progress, "sync", away)
        world.before["old"] = failing("fetch", error=Transient("the server closed the connection"))
        with pytest.raises(Transient):
            version_of(world.reader(), "a")
        world.before.clear()
        assert version_of(world.reader(), "a") == 2


def test_without_a_progress_topic_nothing_was_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(timeout_s: float) -> None:
        raise TopicAbsent("topic shop.progress is not there")

    monkeypatch.setattr(world.progress, "sync", absent)
    assert version_of(world.reader(), "a") == 2
