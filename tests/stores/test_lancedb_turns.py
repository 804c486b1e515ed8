"""Several workers of one Lance table: files are merged though nobody pauses, and nobody waits for a stopped process."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from step_clock import StepClock
from store_data import PLACEMENT, at, batch, batch_of, collection
from vecferry.clock import SYSTEM_CLOCK
from vecferry.schemas.batch import EventBatch, Op, Outcome
from vecferry.stores.lancedb.housekeeping import COMMITS_PER_COMPACTION
from vecferry.stores.lancedb.store import LanceStore
from vecferry.stores.lancedb.turns import IGNORE_S, WAIT_S, Turns

ROUNDS = 4
LARGE_DIMENSION = 256


def opened(directory: Path, clock: StepClock | None = None) -> LanceStore:
    made = LanceStore(str(directory), collection(), PLACEMENT, clock=clock or SYSTEM_CLOCK)
    made.create(complete=False)
    return made


def events(name: str, offset: int, partition: int) -> EventBatch:
    made = batch([(Op.UPSERT, f"{name}-{number}", at(offset)) for number in range(200)])
    made.partitions[:] = partition
    return made


def folder(directory: Path) -> Path:
    return directory / f"{PLACEMENT.table}.lance"


def test_files_are_merged_beside_a_writer_that_never_pauses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    large = collection(dimension=LARGE_DIMENSION)
    store, other = (LanceStore(str(tmp_path), large, PLACEMENT) for _ in range(2))
    store.create(complete=False)
    ended = Event()

    def written(into: LanceStore, rows: int, offset: int, partition: int) -> None:
        ids = [f"{partition}-{number}" for number in range(rows)]
        made = batch_of(ids, np.ones((rows, LARGE_DIMENSION), np.float32), [{}] * rows, first=offset * rows)
        made.partitions[:] = partition
        into.apply(made, ())

    def write_on() -> None:
        offset = 0
        while not ended.is_set():
            written(other, 5, offset, 1)
            offset += 1

    writer = Thread(target=write_on)
    writer.start()
    try:
        for offset in range(ROUNDS):
            written(store, 6_000, offset, 0)
            store._housekeeping._commits = COMMITS_PER_COMPACTION
            store.maintain()
    finally:
        ended.set()
        writer.join()
    assert [message for message in caplog.messages if "put off" in message] == []
    assert store.count() == 6_005


@pytest.mark.parametrize("merging", ["files", "rows"])
def test_a_process_that_was_stopped_in_its_turn_is_not_waited_for_ever(tmp_path: Path, merging: str) -> None:
    clock = StepClock(1_000.0)
    store = opened(tmp_path, clock)
    stopped = Turns(folder(tmp_path), clock)
    with stopped.of_files() if merging == "files" else stopped.of_rows():
        before_s = clock.now_s
        for offset in range(3):
            assert store.apply(events("a", offset, 0), ()).tolist() == [Outcome.APPLIED] * 200
            store._housekeeping._commits = COMMITS_PER_COMPACTION
            store.maintain()
        assert clock.now_s - before_s < WAIT_S + 1
    clock.now_s += IGNORE_S
    with Turns(folder(tmp_path), clock).of_files() as alone:
        assert alone


def test_turns_end_with_the_block_and_with_an_error(tmp_path: Path) -> None:
    clock = StepClock()
    mine, other = Turns(tmp_path, clock), Turns(tmp_path, clock)
    with ExitStack() as stack:
        stack.enter_context(mine.of_rows())
        with other.of_rows():
            assert clock.now_s == 0

    def fails() -> None:
        with mine.of_files() as alone:
            assert alone
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with other.of_files() as alone:
        assert alone
    assert clock.now_s == 0
    with Turns(None, clock).of_files() as alone, Turns(tmp_path / "absent", clock).of_files() as absent:
        assert (alone, absent) == (False, False)


def test_what_a_killed_process_left_behind_is_deleted_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for offset in range(3):
        store.apply(events("a", offset, 0), ())
    data = folder(tmp_path) / "data"
    for name, age_s in (("old", 7_200.0), ("new", 60.0)):
        (data / f"{name}.lance").write_bytes(b"begun")
        written_s = SYSTEM_CLOCK.unix_s() - age_s
        os.utime(data / f"{name}.lance", (written_s, written_s))
    with Turns(folder(tmp_path), StepClock()).of_rows():  # a process that writes
        store._turns._ignored_until_s = float("inf")
        store._housekeeping.make_room()
    assert (data / "old.lance").exists()
    store._turns._ignored_until_s = 0.0
    store._housekeeping.make_room()
    assert not (data / "old.lance").exists()
    assert (data / "new.lance").exists()
    assert store.count() == 200
