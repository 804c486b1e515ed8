"""A disk that is small, full, read-only or grown again: a Lance table does not fill it with what nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_disk import SmallDisk, small_disk
from store_data import PLACEMENT, batch_of, collection
from vecferry.errors import Overloaded, Unavailable
from vecferry.schemas.batch import LiveMark, Outcome
from vecferry.stores.lancedb.store import LanceStore

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
