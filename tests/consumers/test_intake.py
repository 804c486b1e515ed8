"""When a turn's messages are enough: bounds, the linger of live events, that of blocks, a store that rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from vecferry.config import WorkerSection
from vecferry.consumers.intake import Intake
from vecferry.consumers.partition import Owned, Partition
from vecferry.errors import Refused
from vecferry.log.port import Consumer, OffsetGone, TopicAbsent
from vecferry.schemas.snapshot import RUN_CLOSED, SnapshotMarker, encode_snapshot_marker

LIVE, BLOCKS = "shop.products.events", "shop.products.snapshot.r1"
END = "the end of the live topic"
CHUNK, RUN, BROKEN = "the end of a chunk", "the end of the run", "half a marker"  # in the topic of the blocks


class Message:
    def __init__(self, topic: str) -> None:
        self._topic = topic

    def topic(self) -> str:
        if self._topic == END:
            return LIVE
        return BLOCKS if self._topic in MARKERS else self._topic

    def value(self) -> bytes:
        return MARKERS.get(self._topic, b"something else")

    def partition(self) -> int:
        return 0

    def error(self) -> str | None:
        return "the end" if self._topic == END else None

    def __len__(self) -> int:
        return 1_000


MARKERS = {
    name: encode_snapshot_marker(SnapshotMarker(run="r1", chunk=chunk, generation=1, rows=2, digest=3, chunks=1))
    for name, chunk in ((CHUNK, 0), (RUN, RUN_CLOSED))
}
MARKERS[BROKEN] = MARKERS[RUN][:-3]


class Script:
    """A clock, and a consumer whose messages arrive at given seconds of it; it waits as the client does."""

    def __init__(self, arrivals: list[tuple[float, str]]) -> None:
        self.now_s = 0.0
        self._arrivals = arrivals

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        raise AssertionError("nobody asks for the date")

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds

    def poll(self, timeout_s: float) -> Message | None:
        return next(iter(self.consume(1, timeout_s)), None)

    def consume(self, wanted: int, timeout_s: float) -> list[Message]:
        until_s = self.now_s + timeout_s
        due = [arrival for arrival in self._arrivals if arrival[0] <= until_s][:wanted]
        self._arrivals = self._arrivals[len(due) :]
        self.now_s = max(self.now_s, due[-1][0]) if len(due) == wanted else until_s
        return [Message(topic) for _, topic in due]


def owning(*places: tuple[str, int]) -> Owned:
    runs = {LIVE: None, BLOCKS: "r1"}
    return {
        place: Partition(place=place, next_offset=0, handled_below=0, run=runs[place[0]])
        for place in places or ((LIVE, 0), (BLOCKS, 0))
    }


def intake_of(
    script: object,
    read_ahead: Callable[[Any, Partition], None] = lambda *_: None,
    owned: Owned | None = None,
    **bounds: Any,
) -> Intake:
    section = WorkerSection(**{"linger_ms": 20, **bounds})
    owned = owning() if owned is None else owned
    return Intake(cast(Consumer, script), owned, section, "products", 400, read_ahead, cast(Script, script))


def gather(arrivals: list[tuple[float, str]], *, store_is_idle: bool = True, **bounds: Any) -> tuple[list[str], float]:
    script = Script(arrivals)
    intake = intake_of(script, **bounds)
    taken = [message.topic() for message in intake.gather(store_is_idle=lambda: store_is_idle)]
    return sorted(taken), round(script.now_s, 6)  # only within a partition is there an order


def test_live_events_are_collected_for_the_linger() -> None:
    assert gather([(0.0, LIVE), (0.015, LIVE), (0.030, LIVE)]) == ([LIVE, LIVE], 0.02)


@pytest.mark.parametrize("store_is_idle", [True, False])
def test_nothing_is_waited_for_with_the_end_of_a_partition(store_is_idle: bool) -> None:
    """A run that appears meanwhile would not be seen."""
    assert gather([(0.01, END), (0.03, LIVE)], store_is_idle=store_is_idle) == ([LIVE], 0.01)


def test_blocks_alone_are_collected_for_longer() -> None:
    taken, at_s = gather([(0.0, BLOCKS), (0.05, BLOCKS), (0.09, BLOCKS), (0.3, BLOCKS)])
    assert (taken, at_s) == ([BLOCKS] * 3, 0.1)


def test_a_live_event_does_not_wait_with_the_blocks() -> None:
    taken, at_s = gather([(0.0, BLOCKS), (0.025, LIVE), (0.09, BLOCKS)])
    assert taken == sorted([BLOCKS, LIVE])
    assert at_s <= 0.04


def test_blocks_that_fill_a_batch_are_not_waited_for() -> None:
    # 1,000 bytes at 400 a row: two rows each
    taken, at_s = gather([(0.0, BLOCKS)] * 4, store_is_idle=False, batch_rows=8)
    assert taken == [BLOCKS] * 4
    assert at_s <= 0.02


def test_a_store_that_rests_gets_what_is_worth_a_write() -> None:
    arrivals = [(0.0, BLOCKS), (0.03, BLOCKS), (0.06, BLOCKS)]
    assert gather(arrivals, store_is_idle=True, batch_rows=16) == ([BLOCKS] * 2, 0.04)  # it looks every 0.02 s
    assert gather(arrivals, store_is_idle=True, batch_rows=100) == ([BLOCKS] * 3, 0.1)


def test_blocks_grow_in_number_while_the_store_is_at_work() -> None:
    script = Script([(0.0, BLOCKS), (0.15, BLOCKS), (0.25, BLOCKS)])
    intake = intake_of(script, batch_rows=16)
    taken = [len(intake.gather(store_is_idle=lambda: script.now_s >= 0.23)) for _ in range(3)]
    assert (taken, round(script.now_s, 6)) == ([0, 0, 2], 0.24)  # it looks every 0.02 s


def test_blocks_are_read_as_they_arrive_while_the_store_is_at_work() -> None:
    script = Script([(0.0, BLOCKS), (0.15, BLOCKS), (0.15, LIVE)])
    read: list[tuple[str, float]] = []
    intake = intake_of(script, lambda message, _: read.append((message.topic(), round(script.now_s, 6))))
    taken = [len(intake.gather(store_is_idle=lambda: False)) for _ in range(2)]
    assert (taken, read) == ([0, 3], [(BLOCKS, 0.0), (BLOCKS, 0.16)])  # it looks every 0.02 s


@pytest.mark.parametrize("urgent", [LIVE, RUN])
def test_a_store_at_work_is_not_waited_for_with_a_live_event_or_the_end_of_a_run(urgent: str) -> None:
    arrivals = [(0.0, BLOCKS), (0.03, urgent), (0.05, BLOCKS)]
    assert gather(arrivals, store_is_idle=False) == (sorted([BLOCKS, LIVE if urgent == LIVE else BLOCKS]), 0.04)


def test_behind_the_end_of_a_run_no_block_is_waited_for() -> None:
    assert gather([(0.0, BLOCKS), (0.01, RUN), (0.05, BLOCKS)]) == ([BLOCKS, BLOCKS], 0.02)
    assert gather([(0.0, RUN), (0.01, BLOCKS), (0.05, BLOCKS)]) == ([BLOCKS] * 3, 0.1)


@pytest.mark.parametrize("marker", [CHUNK, BROKEN])
def test_behind_any_other_marker_more_is_waited_for(marker: str) -> None:
    """The next chunk follows at once, and after the last one the end of the run: each would be a write of its own."""
    assert gather([(0.0, BLOCKS), (0.01, marker), (0.05, BLOCKS), (0.06, RUN)]) == ([BLOCKS] * 4, 0.06)


def test_without_linger_blocks_are_still_collected() -> None:
    taken, at_s = gather([(0.0, BLOCKS), (0.05, BLOCKS)], linger_ms=0)
    assert (taken, at_s) == ([BLOCKS, BLOCKS], 0.1)


def test_only_what_is_still_held_fills_a_batch() -> None:
    """Three messages of two rows each are held already: two more are enough, unless their partition was given up."""
    for given_up, taken in (((BLOCKS, 0), 5), ((LIVE, 0), 0)):
        script, owned = Script([(0.0, LIVE)] * 20), owning()
        intake = intake_of(script, owned=owned, batch_rows=8)
        for _ in range(3):
            intake.hold()
        del owned[given_up]
        assert len(intake.gather(store_is_idle=lambda: False)) == taken


def test_what_belongs_to_another_owner_is_left_to_it() -> None:
    intake = intake_of(Script([(0.0, BLOCKS), (0.0, LIVE)]), owned=owning((BLOCKS, 0)))
    taken = [*intake.gather(store_is_idle=lambda: True), *intake.gather(store_is_idle=lambda: True)]
    assert [message.topic() for message in taken] == [BLOCKS]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OffsetGone((LIVE, 3), "it is out of range"),
            r"events \[3\]: .* retention was shorter .*vecferry doctor products",
        ),
        (TopicAbsent(f"topic {LIVE} does not exist"), "does not exist; run `vecferry doctor products`"),
    ],
)
def test_what_cannot_be_read_any_more_is_said_with_the_remedy(error: Exception, said: str) -> None:
    class Failing(Script):
        def consume(self, wanted: int, timeout_s: float) -> list[Message]:
            raise error

    with pytest.raises(Refused, match=said):
        intake_of(Failing([])).gather(store_is_idle=lambda: True)
