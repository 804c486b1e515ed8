"""When a turn's messages are enough: bounds, the linger of live events, that of blocks, a store that rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError
from vecferry.config import KafkaSection, WorkerSection
from vecferry.consumers.intake import Intake
from vecferry.schemas.snapshot import RUN_CLOSED, SnapshotMarker, encode_snapshot_marker

LIVE, BLOCKS = "shop.products.events", "shop.products.snapshot.r1"
CHUNK, RUN, BROKEN = "the end of a chunk", "the end of the run", "half a marker"  # in the topic of the blocks


class Message:
    def __init__(self, topic: str, error: KafkaError | None = None) -> None:
        self._topic = topic
        self._error = error

    def topic(self) -> str:
        return BLOCKS if self._topic in MARKERS else self._topic

    def value(self) -> bytes:
        return MARKERS.get(self._topic, b"something else")

    def partition(self) -> int:
        return 0

    def error(self) -> KafkaError | None:
        return self._error

    def __len__(self) -> int:
        return 1_000


MARKERS = {
    name: encode_snapshot_marker(SnapshotMarker(run="r1", chunk=chunk, generation=1, rows=2, digest=3, chunks=1))
    for name, chunk in ((CHUNK, 0), (RUN, RUN_CLOSED))
}
MARKERS[BROKEN] = MARKERS[RUN][:-3]
ERRORS = {
    "away": Message("", KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down")),
    "end": Message(LIVE, KafkaError(KafkaError._PARTITION_EOF, "no more messages")),
}


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
        return [ERRORS.get(topic) or Message(topic) for _, topic in due]


def intake_of(script: Script, read_ahead: Callable[[Any], None] = lambda _: None, **bounds: Any) -> Intake:
    section = WorkerSection(**{"linger_ms": 20, **bounds})
    kafka = KafkaSection(bootstrap_servers="nowhere:1")
    return Intake(cast(Consumer, script), kafka, section, "products", LIVE, 400, read_ahead, script)


def gather(arrivals: list[tuple[float, str]], *, store_rests: bool = True, **bounds: Any) -> tuple[list[str], float]:
    script = Script(arrivals)
    intake = intake_of(script, **bounds)
    return [message.topic() for message in intake.gather(store_rests=lambda: store_rests)], round(script.now_s, 6)


def test_live_events_are_collected_for_the_linger() -> None:
    assert gather([(0.0, LIVE), (0.015, LIVE), (0.030, LIVE)]) == ([LIVE, LIVE], 0.02)


@pytest.mark.parametrize("store_rests", [True, False])
def test_nothing_is_waited_for_with_the_end_of_a_partition(store_rests: bool) -> None:
    """A run that appears meanwhile would not be seen."""
    assert gather([(0.01, "end"), (0.03, LIVE)], store_rests=store_rests) == ([LIVE], 0.01)


def test_blocks_alone_are_collected_for_longer() -> None:
    taken, at_s = gather([(0.0, BLOCKS), (0.05, BLOCKS), (0.09, BLOCKS), (0.3, BLOCKS)])
    assert (taken, at_s) == ([BLOCKS] * 3, 0.1)


def test_a_live_event_does_not_wait_with_the_blocks() -> None:
    taken, at_s = gather([(0.0, BLOCKS), (0.025, LIVE), (0.09, BLOCKS)])
    assert taken == [BLOCKS, LIVE]
    assert at_s <= 0.04


def test_blocks_that_fill_a_batch_are_not_waited_for() -> None:
    # 1,000 bytes at 400 a row: two rows each
    taken, at_s = gather([(0.0, BLOCKS)] * 4, store_rests=False, batch_rows=8)
    assert taken == [BLOCKS] * 4
    assert at_s <= 0.02


def test_a_store_that_rests_gets_what_is_worth_a_write() -> None:
    arrivals = [(0.0, BLOCKS), (0.03, BLOCKS), (0.06, BLOCKS)]
    assert gather(arrivals, store_rests=True, batch_rows=16) == ([BLOCKS] * 2, 0.04)  # it looks every 0.02 s
    assert gather(arrivals, store_rests=True, batch_rows=100) == ([BLOCKS] * 3, 0.1)


def test_blocks_grow_in_number_while_the_store_is_at_work() -> None:
    script = Script([(0.0, BLOCKS), (0.15, BLOCKS), (0.25, BLOCKS)])
    intake = intake_of(script, batch_rows=16)
    taken = [len(intake.gather(store_rests=lambda: script.now_s >= 0.23)) for _ in range(3)]
    assert (taken, round(script.now_s, 6)) == ([0, 0, 2], 0.24)  # it looks every 0.02 s


def test_blocks_are_read_as_they_arrive_while_the_store_is_at_work() -> None:
    script = Script([(0.0, BLOCKS), (0.15, BLOCKS), (0.15, LIVE)])
    read: list[tuple[str, float]] = []
    intake = intake_of(script, lambda message: read.append((message.topic(), round(script.now_s, 6))))
    taken = [len(intake.gather(store_rests=lambda: False)) for _ in range(2)]
    assert (taken, read) == ([0, 3], [(BLOCKS, 0.0), (BLOCKS, 0.16)])  # it looks every 0.02 s


@pytest.mark.parametrize("urgent", [LIVE, RUN])
def test_a_store_at_work_is_not_waited_for_with_a_live_event_or_the_end_of_a_run(urgent: str) -> None:
    arrivals = [(0.0, BLOCKS), (0.03, urgent), (0.05, BLOCKS)]
    assert gather(arrivals, store_rests=False) == ([BLOCKS, LIVE if urgent == LIVE else BLOCKS], 0.04)


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


@pytest.mark.parametrize(("given_up", "taken"), [(BLOCKS, [5, 7]), (LIVE, [7, 7])])
def test_only_what_is_still_held_fills_a_batch(given_up: str, taken: list[int]) -> None:
    """Three messages of two rows each are held already: two more are enough, unless their partition was given up."""
    script = Script([(0.0, LIVE)] * 20)
    intake = intake_of(script, batch_rows=8)
    for _ in range(3):
        intake.hold()
    intake.forget({(given_up, 0)})
    assert [len(intake.gather(store_rests=lambda: False)) for _ in range(2)] == taken


def test_a_kafka_that_is_away_is_said_once_and_then_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    script = Script([(0.0, "away"), (1.0, "away"), (31.0, "away"), (32.0, LIVE)])
    intake = intake_of(script)
    while not intake.gather(store_rests=lambda: True):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "products: Kafka does not answer (all brokers are down); going on when it does"
    ] * 2
