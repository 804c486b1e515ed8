"""Files that another process dropped, versions that somebody tagged, and compaction that fails: the worker goes on."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import lancedb
import pytest
from step_clock import StepClock
from store_data import PLACEMENT, at, batch, collection, contents
from vecferry.errors import Fatal, Overloaded, Transient, Unavailable, VecferryError
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.stores.lancedb.store import (
    COMMITS_PER_COMPACTION,
    KEEP_AT_LEAST_S,
    KEEP_AT_MOST_S,
    KEPT_COMPACTIONS,
    LanceStore,
)


@pytest.fixture
def clock() -> StepClock:
    return StepClock(100.0)


@pytest.fixture
def store(tmp_path: Path, clock: StepClock) -> LanceStore:
    made = LanceStore(str(tmp_path), collection(), PLACEMENT, clock=clock)
    made.create(complete=False)
    return made


def table_in(directory: Path) -> lancedb.table.Table:
    return lancedb.connect(directory).open_table(PLACEMENT.table)


def maintained(store: LanceStore, offset: int) -> None:
    """One batch, and the housekeeping that is due after it."""
    store.apply(batch([(Op.UPSERT, "a", at(offset))]), ())
    store._commits = COMMITS_PER_COMPACTION
    store.maintain()


@pytest.mark.filterwarnings("ignore:optimize")
def test_a_handle_whose_files_are_gone_is_renewed_after_one_error(tmp_path: Path, store: LanceStore) -> None:
    store.apply(batch([(Op.UPSERT, "a", at(0)), (Op.UPSERT, "b", at(1))]), ())
    assert store.export(None, 1).rows.ids == ["a"]
    sibling = LanceStore(str(tmp_path), collection(), PLACEMENT)
    for offset in range(2, 8):
        sibling.apply(batch([(Op.UPSERT, f"s{offset}", at(offset))]), ())
    table_in(tmp_path).optimize(cleanup_older_than=timedelta(0))
    marks = [LiveMark(partition=0, next_offset=10)]
    with pytest.raises(Transient):
        store.apply(batch([(Op.UPSERT, "a", at(9))]), marks)
    assert store.apply(batch([(Op.UPSERT, "a", at(9))]), marks).tolist() == [Outcome.APPLIED]
    assert store.export("a", 1).rows.ids == ["b"]


@pytest.mark.filterwarnings("ignore:optimize")
def test_an_export_finds_its_way_when_the_version_of_its_listing_is_gone(tmp_path: Path, store: LanceStore) -> None:
    store.apply(batch([(Op.UPSERT, id_, at(0)) for id_ in "abc"]), ())
    assert store.export(None, 1).rows.ids == ["a"]
    store.apply(batch([(Op.UPSERT, "b", at(1))]), ())
    store._connection.close()  # as any error does, and the next one must forget the listing
    table_in(tmp_path).optimize(cleanup_older_than=timedelta(0))
    with pytest.raises(Transient, match="no longer exists"):
        store.export("a", 1)
    assert store.export("a", 1).rows.ids == ["b"]


def test_a_tagged_version_stays_and_files_are_merged_all_the_same(
    tmp_path: Path, store: LanceStore, clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecferry.stores.lancedb.store.KEEP_AT_LEAST_S", 0.001)
    for offset in range(5):
        store.apply(batch([(Op.UPSERT, f"x{offset}", at(offset))]), ())
    tags = table_in(tmp_path).tags
    tags.create("mine", table_in(tmp_path).version)
    maintained(store, 5)
    table = table_in(tmp_path)
    assert table.stats()["fragment_stats"]["num_fragments"] <= 2
    table.checkout("mine")
    assert table.count_rows("`sku` = 'x4'") == 1
    tags.delete("mine")
    maintained(store, 6)
    assert contents(store.fetch(["a"]))["a"].position == at(6)


@pytest.mark.parametrize("error", [Fatal("broken"), Overloaded("full", retry_after_s=1.0), Unavailable("away")])
def test_compaction_that_fails_is_said_once_in_a_while_and_ends_nothing(
    store: LanceStore,
    clock: StepClock,
    error: VecferryError,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(lancedb.table.LanceTable, "optimize", fail)
    for offset in range(3):
        maintained(store, offset)
    assert [message for message in caplog.messages if "not compacted" in message] == [caplog.messages[0]]
    clock.now_s += 3_600.0
    maintained(store, 3)
    assert len(caplog.messages) == 2
    assert contents(store.fetch(["a"]))["a"].position == at(3)


@pytest.mark.parametrize(
    ("apart_s", "kept_s"),
    [(1.0, KEEP_AT_LEAST_S), (600.0, 600.0 * KEPT_COMPACTIONS), (86_400.0, KEEP_AT_MOST_S)],
)
def test_versions_are_kept_for_so_many_compactions(
    store: LanceStore, clock: StepClock, apart_s: float, kept_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[timedelta] = []
    monkeypatch.setattr(
        lancedb.table.LanceTable, "optimize", lambda _, cleanup_older_than: seen.append(cleanup_older_than)
    )
    for offset in range(2):
        clock.now_s += apart_s
        maintained(store, offset)
    assert seen == [timedelta(seconds=kept_s)] * 2
