"""What one reader does: routes, waits for writes, falls back, keeps to its time, refuses wrong arguments."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from memory_store import MemoryStore
from reads_fakes import COLLECTION, TOPIC, World, key_on, serve, version_of
from vecferry.errors import Inconclusive, InvalidRecord, Unavailable
from vecferry.journal.progress import live_progress_key
from vecferry.journal.route import route_key
from vecferry.reads.route import whole
from vecferry.reads.session import Session
from vecferry.schemas.filters import Operator
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken
from waiting import wait_until

VECTOR = [1.0, 0.0]


def test_without_a_route_record_the_default_is_read() -> None:
    world = World()
    world.write("a", 1)
    world.apply("new")
    assert version_of(world.reader(), "a") == 0
    assert version_of(world.reader(without_record=whole("new")), "a") == 1


def test_answers_carry_metadata_position_and_the_order_asked_for() -> None:
    world = World()
    for n, id_ in enumerate("abc"):
        world.write(id_, n)
    world.apply("old")
    reader = world.reader()
    rows = reader.get(["c", "missing", "a", "c"])
    assert [(row.id, row.metadata, row.position) for row in rows] == [
        ("c", {"v": 2}, encode_position(1, 2)),
        ("a", {"v": 0}, encode_position(1, 0)),
        ("c", {"v": 2}, encode_position(1, 2)),
    ]
    assert rows[0].vector.tolist() == VECTOR
    assert [hit.id for hit in reader.search(VECTOR, 2, filter={"v": 1})] == ["b"]
    assert reader.stats.reads == {"old": 2}


@pytest.mark.parametrize(
    ("wanted", "lacking"), [(None, "None"), ({"$in": [1, 2]}, r"\$in"), ({"$in": [None, 1]}, r"\$in, None")]
)
def test_an_operator_that_the_store_does_not_have_is_refused_at_the_call(wanted: object, lacking: str) -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    plain = replace(MemoryStore.capabilities, filters=frozenset({Operator.EQUALS}))
    world.stores["old"].capabilities = plain  # type: ignore[misc]
    reader = world.reader()
    assert [hit.id for hit in reader.search(VECTOR, 2, filter={"v": 1})] == ["a"]
    with pytest.raises(InvalidRecord, match=f"filter.v: .*cannot filter by {lacking}; use only a value"):
        reader.search(VECTOR, 2, filter={"v": wanted})


def test_a_route_moves_only_its_share_and_is_observable() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader()
    assert reader.route is None
    serve(world, reader, 0)
    serve(world, reader, 40)
    assert (reader.route, reader.known_route) == (reader.known_route, reader.route)
    before = reader.stats.reads
    version_of(reader, "a", key=key_on("new", 40))
    version_of(reader, "a", key=key_on("old", 40))
    after = reader.stats.reads
    assert after["old"] + after.get("new", 0) == before["old"] + before.get("new", 0) + 2
    assert after["new"] == before.get("new", 0) + 1


def test_reads_whose_store_stays_are_not_held_while_others_are() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader = world.reader()
    serve(world, reader, 0)
    holding, release = threading.Event(), threading.Event()
    ends = world.ends

    def slow_ends(timeout_s: float) -> tuple[int, ...]:
        if world.end_requests >= 1:  # the second request of the move: reads are held by now
            holding.set()
            assert release.wait(20)
        return ends(timeout_s)

    world.end_requests = 0
    world.shared._end_offsets = slow_ends
    world.route(50)
    version_of(reader, "a", key=key_on("old", 50))
    assert holding.wait(20)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(version_of, reader, "a", key=key_on("new", 50), timeout=30.0)
        assert version_of(reader, "a", key=key_on("old", 50), timeout=20.0) == 1
        assert not held.done()
        release.set()
        assert held.result(20) == 1
    assert reader.stats.reads["new"] == 1


def test_a_store_that_lags_is_not_moved_to_until_it_has_caught_up() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    reader = world.reader(barrier_s=0.2)
    serve(world, reader, 0)
    world.route(100)
    wait_until(lambda: version_of(reader, "a", timeout=5.0) == 1 and reader.stats.refused_moves >= 2)
    assert reader.stats.reads.get("new", 0) == 0
    assert (reader.route.percent, reader.known_route.percent) == (0, 100)  # type: ignore[union-attr]
    world.apply("new")
    wait_until(lambda: version_of(reader, "a") == 1 and reader.stats.reads.get("new", 0) > 0)


def test_after_waits_until_the_routed_store_has_applied_the_write() -> None:
    world = World()
    reader = world.reader()
    token = world.write("a", 7, partition=1)
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(version_of, reader, "a", after=token, timeout=30.0)
        wait_until(lambda: reader.stats.waits == 1)
        assert not read.done()
        world.apply("old")
        assert read.result(20) == 7


def test_after_times_out_naming_store_partition_and_distance() -> None:
    world = World()
    reader = world.reader()
    for version in range(5):
        token = world.write("a", version)
    world.apply("old", {0: 2})
    with pytest.raises(Inconclusive, match="store 'old' has applied partition 0 up to offset 2, 3 records short"):
        version_of(reader, "a", after=token, timeout=0.4)


def test_a_store_without_a_worker_is_said_to_have_none() -> None:
    world = World()
    world.publishes_progress = False
    world.stores["old"].live.clear()
    token = world.write("a", 1)
    with pytest.raises(Inconclusive, match="no worker of store 'old' has reported progress on partition 0"):
        version_of(world.reader(), "a", after=token, timeout=0.4)


@pytest.mark.parametrize("view_ended", [False, True])
def test_when_progress_is_silent_the_store_itself_is_asked(view_ended: bool) -> None:
    world = World()
    world.publishes_progress = False
    world.progress.ended = view_ended
    token = world.write("a", 3)
    world.apply("old")
    assert version_of(world.reader(), "a", after=token, timeout=20.0) == 3


def test_own_writes_are_seen_on_either_side_of_a_cutover() -> None:
    world = World()
    reader = world.reader()
    session = Session()
    session.observe(world.write("a", 1))
    world.apply("old")
    assert version_of(reader, "a", session=session, timeout=20.0) == 1
    world.apply("new")
    serve(world, reader, 100)
    session.observe(world.write("a", 2))
    with pytest.raises(Inconclusive, match="store 'new'"):
        version_of(reader, "a", session=session, timeout=0.3)
    world.apply("new")
    assert version_of(reader, "a", after=[session], timeout=20.0) == 2


def test_kafka_away_keeps_the_last_route_serving() -> None:
    world = World()
    world.write("a", 1)
    world.apply("new")
    reader = world.reader()
    world.route(100)
    assert version_of(reader, "a") == 1
    world.kafka_away = True
    world.progress.ended = True
    assert [version_of(reader, "a", timeout=20.0) for _ in range(20)] == [1] * 20
    world.route(0)  # a route that was learned, and then Kafka went away: no bound can be had, so reads stay
    assert [version_of(reader, "a", timeout=20.0) for _ in range(20)] == [1] * 20
    assert reader.stats.reads == {"new": 41}
    wait_until(lambda: reader.stats.refused_moves > 0)


def test_kafka_never_there_is_said_in_one_line() -> None:
    world = World()
    reader = world.reader()

    def away(timeout_s: float) -> object:
        raise Unavailable("Kafka at 127.0.0.1:1 does not answer; start it or correct kafka.bootstrap_servers")

    reader._router._control = away  # type: ignore[assignment]
    with pytest.raises(Unavailable, match=r"^Kafka at .*start it[^\n]*$"):
        version_of(reader, "a")


def test_a_garbled_route_record_leaves_the_last_one() -> None:
    world = World()
    world.write("a", 1)
    world.apply("new")
    reader = world.reader()
    world.route(100)
    assert version_of(reader, "a") == 1
    for junk in (b"", b"{}", b"\xff", b'{"generation": 1e99}'):
        world.control.put(route_key(COLLECTION.name), junk)
        assert version_of(reader, "a") == 1
    world.progress.put(live_progress_key(COLLECTION.name, "new", 0), b"junk")
    assert world.shared.lag("new", {0: 1}) is not None


def test_a_reader_that_begins_under_a_route_of_a_later_version_does_not_guess() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.control.put(route_key(COLLECTION.name), b'{"version": 2, "shares": {"new": 1.0}}')
    reader = world.reader()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"was written by a later version .* use that version"):
            version_of(reader, "a")
    world.route(0)
    assert version_of(reader, "a") == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"vector": [1.0]}, "vector"),
        ({"vector": [[1.0, 0.0]]}, "vector"),
        ({"vector": [float("nan"), 0.0]}, "vector"),
        ({"vector": [1e300, 0.0]}, "vector"),
        ({"vector": "text"}, "vector"),
        ({"k": 0}, "k"),
        ({"k": True}, "k"),
        ({"k": 2.0}, "k"),
        ({"filter": {"v": {"$lt": 3}}}, "filter.v"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"after": "a@0=1"}, "after"),
        ({"after": WriteToken("shop.other.events", {0: 1})}, "after"),
        ({"after": WriteToken(TOPIC, {9: encode_position(1, 0)})}, "after"),
        ({"after": WriteToken(TOPIC, {0: encode_position(2, 0)})}, "after"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        World().reader().search(**{"vector": VECTOR, **arguments})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("ids", ["abc", [1], [""], ["x" * 513], ["a\0b"], ["\ud800"]])
def test_wrong_ids_are_refused(ids: object) -> None:
    with pytest.raises(InvalidRecord, match=r"^ids"):
        World().reader().get(ids)  # type: ignore[arg-type]


def test_a_closed_reader_says_so() -> None:
    reader = World().reader()
    with reader:
        version_of(reader, "a")
    with pytest.raises(Unavailable, match="closed"):
        version_of(reader, "a")
