"""Sessions: what they remember, and what of a hostile text they refuse."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reads_fakes import COLLECTION, TOPIC, World, version_of
from vecferry.errors import Inconclusive, InvalidRecord
from vecferry.reads.session import Session
from vecferry.reads.watermarks import next_instant
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import Run, WriteToken
from waiting import wait_until

EPOCH = COLLECTION.epoch


def text_of(document: object) -> str:
    return "v1." + base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@given(st.dictionaries(st.integers(0, 1), st.integers(0, 2**40), max_size=2), st.sets(st.sampled_from(["old", "new"])))
def test_text_carries_everything(offsets: dict[int, int], stores: set[str]) -> None:
    session = Session()
    positions = {partition: encode_position(EPOCH, offset) for partition, offset in offsets.items()}
    for partition, position in positions.items():
        session.observe(WriteToken(TOPIC, {partition: position}))
    for store in stores:
        session.saw(TOPIC, store, {})
    before = next_instant()
    copy = Session.parse(str(session))
    assert copy.key == session.key
    assert copy.written(TOPIC) == positions
    assert set(copy.stores(TOPIC)) == stores
    assert all(instant > before for instant in copy.stores(TOPIC).values())
    assert str(copy) == str(session)
    assert set(str(session)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_the_highest_position_of_a_partition_counts() -> None:
    session = Session()
    for position in (5, 9, 7):
        session.observe(WriteToken(TOPIC, {0: position}))
    assert session.written(TOPIC) == {0: 9}
    session.saw(TOPIC, "old", {0: 7})
    assert session.written(TOPIC) == {0: 9}
    session.saw(TOPIC, "old", {0: 9})
    assert session.written(TOPIC) == {}


def test_only_what_was_seen_before_is_covered() -> None:
    session = Session()
    session.saw(TOPIC, "old", {})
    seen = session.stores(TOPIC)["old"]
    session.covered(TOPIC, "new", seen)
    assert set(session.stores(TOPIC)) == {"new"}
    session.saw(TOPIC, "old", {})
    session.covered(TOPIC, "new", seen)
    assert set(session.stores(TOPIC)) == {"new", "old"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "v1.",
        "v2.eyJrIjoiYSIsInMiOnt9LCJ3Ijp7fX0",  # well-formed, of another version
        "v1.%%%",
        "v1.é",
        "v1." + "A" * 70_000,
        text_of([]),
        text_of({}),
        text_of({"k": "", "s": {}, "w": {}}),
        text_of({"k": 7, "s": {}, "w": {}}),
        text_of({"k": "a", "s": {"t": "old"}, "w": {}}),
        text_of({"k": "a", "s": {"t": [1]}, "w": {}}),
        text_of({"k": "a", "s": {"t": ["s"] * 65}, "w": {}}),
        text_of({"k": "a", "s": {}, "w": {"t": {"x": 1}}}),
        text_of({"k": "a", "s": {}, "w": {"t": {"1": -1}}}),
        text_of({"k": "a", "s": {}, "w": {"t": {"1": True}}}),
        text_of({"k": "a", "s": {}, "w": {"t": {"1": 2**60}}}),
        text_of({"k": "a", "s": {}, "w": {"t": {"1": 1.5}}}),
        "v1." + base64.urlsafe_b64encode(b"[" * 40_000).decode(),
    ],
)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match="session"):
        Session.parse(text)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    for candidate in (text, "v1." + text, "v1." + base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()):
        try:
            Session.parse(candidate)
        except InvalidRecord:
            continue


def test_a_session_of_another_epoch_or_partition_is_refused() -> None:
    for token in (WriteToken(TOPIC, {0: encode_position(2, 0)}), WriteToken(TOPIC, {7: encode_position(1, 0)})):
        session = Session()
        session.observe(token)
        with pytest.raises(InvalidRecord, match="session"):
            version_of(World().reader(), "a", session=session)


def test_a_session_crosses_readers_and_stores_as_text() -> None:
    world = World()
    ahead, behind = world.reader(), world.reader()
    world.write("a", 1)
    world.apply("old")
    session = Session()
    assert version_of(ahead, "a", session=session) == 1
    assert set(session.stores(TOPIC)) == {"old"}

    world.route(100)  # the second reader never read by the old route, so nothing but the session holds it back
    resumed = Session.parse(str(session))
    assert version_of(behind, "a") == 0
    assert version_of(behind, "a", session=resumed, timeout=2.0) == 1
    assert behind.stats.refused_moves == 1
    assert set(resumed.stores(TOPIC)) == {"old"}

    world.apply("new")
    assert version_of(behind, "a", session=resumed) == 1
    assert set(resumed.stores(TOPIC)) == {"new"}


def test_a_session_asks_kafka_only_when_its_store_changes() -> None:
    world = World()
    world.write("a", 1)
    world.apply("old")
    world.apply("new")
    reader, session = world.reader(), Session()
    for _ in range(50):
        session = Session.parse(str(session))
        version_of(reader, "a", session=session)
    assert world.end_requests == 0
    world.route(100)
    wait_until(lambda: version_of(reader, "a", session=session) and set(session.stores(TOPIC)) == {"new"})
    asked = world.end_requests
    for _ in range(50):
        version_of(reader, "a", session=session)
    assert world.end_requests == asked


def test_a_session_that_has_read_several_stores_is_told_why_it_must_wait() -> None:
    world = World()
    world.write("a", 1)
    session = Session()
    session.saw(TOPIC, "old", {})
    session.saw(TOPIC, "new", {})
    with pytest.raises(Inconclusive, match="has seen more than store 'old' is known to have applied"):
        version_of(world.reader(), "a", session=session, timeout=0.5)
    world.apply("old")
    assert version_of(world.reader(), "a", after=session) == 1


def test_a_session_that_writes_much_before_it_reads_stays_small_enough_for_a_cookie() -> None:
    session = Session()
    for offset in range(1_000):
        session.observe(WriteToken("shop.products.events", {offset % 3: 2**41 + offset}))
    again = Session.parse(str(session))
    assert again.writes("shop.products.events") == session.writes("shop.products.events")
    assert len(again.writes("shop.products.events")) == 32
    assert len(str(session)) < 3_000


def test_the_text_of_a_session_of_an_earlier_release_knows_the_last_writes() -> None:
    session = Session()
    session.observe(WriteToken("shop.products.events", {1: 2**41 + 7}))
    version, _, body = str(session).partition(".")
    document = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    del document["r"]
    text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    assert Session.parse(f"{version}.{text}").writes("shop.products.events") == [Run(1, 2**41 + 7, 2**41 + 7)]
