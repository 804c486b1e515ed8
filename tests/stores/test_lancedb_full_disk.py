"""A disk that is small, full, read-only or grown again: a Lance table does not fill it with what nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_disk import SmallDisk, small_disk
from step_clock import StepClock
from store_data import PLACEMENT, batch_of, collection
from vecferry.consumers.applying import Applier
from vecferry.errors import Overloaded, Unavailable
from vecferry.schemas.batch import LiveMark, Outcome
from vecferry.stores.lancedb.store import LanceStore

pytestmark = pytest.mark.slow

DIMENSION = 64
IDS = [f"id-{number}" for number in range(200)]
VECTORS = np.random.default_rng(4).standard_normal((len(IDS), DIMENSION)).astype(np.float32)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=3) as made:
        yield made


@pytest.fixture
def store(disk: SmallDisk) -> LanceStore:
    made = LanceStore(str(disk.folder), collection(dimension=DIMENSION), PLACEMENT)
    made.create(complete=False)
    return made


def written(store: LanceStore, first: int, batches: int = 1) -> int:
    """Every id anew in each batch; returns how many rows the last one wrote."""
    outcomes = np.zeros(0, np.int8)
    for number in range(first, first + batches):
        rows = batch_of(IDS, VECTORS, [{}] * len(IDS), first=number * len(IDS))
        outcomes = store.apply(rows, [LiveMark(partition=0, next_offset=(number + 1) * len(IDS))])
        store.maintain()
    return int((outcomes == Outcome.APPLIED).sum())


def test_a_table_that_is_written_over_and_over_fits_on_a_small_disk(store: LanceStore) -> None:
    assert written(store, 0, batches=60) == len(IDS)
    assert store.count() == len(IDS)


def test_old_versions_make_room_on_a_disk_that_another_program_filled(disk: SmallDisk, store: LanceStore) -> None:
    written(store, 0, batches=10)
    disk.fill()
    assert written(store, 10) == len(IDS)
    assert store.applied().live[0] == 11 * len(IDS)


def test_a_full_disk_is_waited_for_and_nothing_is_lost(disk: SmallDisk, store: LanceStore) -> None:
    written(store, 0)

    def write_on() -> None:
        for number in range(1, 9):  # old versions make room for the first of them
            disk.fill()
            written(store, number)

    with pytest.raises(Overloaded, match="free some disk space"):
        write_on()
    reached = store.applied().live[0]
    assert reached % len(IDS) == 0
    assert store.count() == len(IDS)
    disk.remount("size=8m")
    assert written(store, reached // len(IDS)) == len(IDS)


def test_a_disk_that_turned_read_only_is_waited_for(disk: SmallDisk, store: LanceStore) -> None:
    written(store, 0)
    disk.remount("ro")
    with pytest.raises(Unavailable, match="read and write"):
        written(store, 1)
    assert store.count() == len(IDS)
    disk.remount("rw")
    assert written(store, 1) == len(IDS)


class Waiting(StepClock):
    """Enlarges the disk when somebody has waited for a quarter of an hour."""

    def __init__(self, disk: SmallDisk) -> None:
        super().__init__()
        self._disk = disk

    def sleep_s(self, seconds: float) -> None:
        before_s = self.now_s
        super().sleep_s(seconds)
        if before_s < 900.0 <= self.now_s:
            self._disk.remount("size=8m")


def test_a_worker_whose_disk_is_full_waits_says_so_once_and_goes_on(
    disk: SmallDisk, store: LanceStore, caplog: pytest.LogCaptureFixture
) -> None:
    written(store, 0)
    store._housekeeping.make_room()
    disk.fill()
    clock = Waiting(disk)
    rows = batch_of(IDS, VECTORS, [{}] * len(IDS), first=len(IDS))
    applied = Applier(store, DIMENSION, clock, lambda: False).apply(rows, [LiveMark(partition=0, next_offset=2)])
    assert applied.outcomes.tolist() == [Outcome.APPLIED] * len(IDS)
    assert applied.rejected == {}
    first, again, over = [message for message in caplog.messages if "the store" in message]
    assert "no space is left on its disk; free some disk space" in first
    assert "for 600 s" in again
    assert "the store answers again, after 90" in over
