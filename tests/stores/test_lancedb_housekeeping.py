"""Files that another process dropped, versions that somebody tagged, and compaction that fails: the worker goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import lancedb
import pytest
from lancedb.table import LanceTable
from step_clock import StepClock
from store_data import PLACEMENT, at, batch, collection, contents, vector_for
from vecferry.errors import Fatal, Overloaded, Unavailable, VecferryError
from vecferry.schemas.batch import LiveMark, Op, Outcome
from vecferry.stores.lancedb import housekeeping
from vecferry.stores.lancedb.housekeeping import COMMITS_PER_COMPACTION, KEEP_AT_MOST_S, KEPT_COMMITS
from vecferry.stores.lancedb.store import LanceStore

pytestmark = pytest.mark.slow


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
    store._housekeeping._commits = COMMITS_PER_COMPACTION
    store.maintain()


@pytest.mark.filterwarnings("ignore:optimize")
def test_a_handle_whose_files_are_gone_writes_and_reads_on(tmp_path: Path, store: LanceStore) -> None:
    store.apply(batch([(Op.UPSERT, "a", at(0)), (Op.UPSERT, "b", at(1))]), ())
    assert store.export(None, 1).rows.ids == ["a"]
    sibling = LanceStore(str(tmp_path), collection(), PLACEMENT)
    for offset in range(2, 8):
        sibling.apply(batch([(Op.UPSERT, f"s{offset}", at(offset))]), ())
    table_in(tmp_path).optimize(cleanup_older_than=timedelta(0))
    marks = [LiveMark(partition=0, next_offset=10)]
    assert store.apply(batch([(Op.UPSERT, "a", at(9))]), marks).tolist() == [Outcome.APPLIED]
    assert store.export("a", 1).rows.ids == ["b"]


@pytest.mark.filterwarnings("ignore:optimize")
def test_an_export_finds_its_way_when_the_version_of_its_listing_is_gone(tmp_path: Path, store: LanceStore) -> None:
    store.apply(batch([(Op.UPSERT, id_, at(0)) for id_ in "abc"]), ())
    assert store.export(None, 1).rows.ids == ["a"]
    store.apply(batch([(Op.UPSERT, "b", at(1))]), ())
    store._connection.close()  # as any error does: the version is then looked for anew
    table_in(tmp_path).optimize(cleanup_older_than=timedelta(0))
    assert store.export("a", 1).rows.ids == ["b"]


@pytest.mark.filterwarnings("ignore:optimize")
def test_a_scan_goes_on_when_the_version_that_it_reads_is_cleaned_up(tmp_path: Path, store: LanceStore) -> None:
    for offset in range(30):
        store.apply(batch([(Op.UPSERT, f"x{offset:02}", at(offset))]), ())
    (chunk,) = store.plan_chunks(1_000)
    reader = LanceStore(str(tmp_path), collection(), PLACEMENT)
    pages = reader.scan(chunk, 1)
    seen = next(pages).ids
    for offset in range(30, 60):
        store.apply(batch([(Op.UPSERT, f"x{offset - 30:02}", at(offset))]), ())
    table_in(tmp_path).optimize(cleanup_older_than=timedelta(0))
    assert sorted([*seen, *(id_ for page in pages for id_ in page.ids)]) == [f"x{number:02}" for number in range(30)]


@pytest.mark.filterwarnings("ignore:optimize")
def test_reads_find_their_way_when_the_files_of_their_version_are_gone(tmp_path: Path, store: LanceStore) -> None:
    store.apply(batch([(Op.UPSERT, "a", at(0))]), ())
    reader = LanceStore(str(tmp_path), collection(), PLACEMENT)
    calls: list[Callable[[], object]] = [
        lambda: contents(reader.fetch(["a"]))["a"].position,
        lambda: reader.search(vector_for(at(0)), 1, (), 9.0)[0].id,
        lambda: reader.count(),
        lambda: reader.applied().live,
        lambda: len(reader.plan_chunks(10)),
    ]
    before = [call() for call in calls]
    latest = LanceTable.checkout_latest

    def cleaned_up_meanwhile(table: LanceTable) -> None:
        """The version is found, and gone when its files are opened."""
        latest(table)
        if not cleaned:
            cleaned.append(True)
            raise OSError("Object at location products.lance/data/ab.lance not found")

    for call, expected in zip(calls, before, strict=True):
        cleaned: list[bool] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LanceTable, "checkout_latest", cleaned_up_meanwhile)
            assert call() == expected
        assert cleaned


def test_a_tagged_version_stays_and_files_are_merged_all_the_same(
    tmp_path: Path, store: LanceStore, clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "KEEP_AT_MOST_S", 0.001)
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
    assert [message for message in caplog.messages if "not cleaned" in message] == [caplog.messages[0]]
    clock.now_s += 3_600.0
    maintained(store, 3)
    assert len(caplog.messages) == 2
    assert contents(store.fetch(["a"]))["a"].position == at(3)


@pytest.mark.parametrize(
    ("apart_s", "kept_s"), [(0.01, 0.01 * (KEPT_COMMITS - 1)), (10.0, KEEP_AT_MOST_S), (86_400.0, KEEP_AT_MOST_S)]
)
def test_versions_are_bounded_by_number_and_by_age(
    store: LanceStore, clock: StepClock, apart_s: float, kept_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[timedelta] = []
    monkeypatch.setattr(LanceTable, "optimize", lambda _, cleanup_older_than: seen.append(cleanup_older_than))
    for _ in range(KEPT_COMMITS):
        clock.now_s += apart_s
        store._housekeeping.wrote(0)
    store.maintain()
    assert seen[0].total_seconds() == pytest.approx(kept_s)


def test_a_table_keeps_to_its_bound_however_often_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "LEAST_BOUND", 2 * 2**20)
    monkeypatch.setattr(housekeeping, "KEEP_AT_LEAST_S", 0.001)
    store = LanceStore(str(tmp_path), collection(), PLACEMENT, max_growth=3.0)
    store.create(complete=False)
    ids = [f"x{number}" for number in range(200)]
    for number in range(40):
        store.apply(batch([(Op.UPSERT, id_, at(number)) for id_ in ids]), ())
        store.maintain()
        blocks = sum(path.stat().st_blocks for path in tmp_path.rglob("*") if path.is_file())
        assert blocks * 512 <= 2 * 2**20
    size = store.size()
    assert size.held == blocks * 512
    assert size.bound == 2 * 2**20


@pytest.mark.parametrize(("kept_s", "readable"), [(60.0, True), (0.001, False)])
def test_who_reads_the_table_without_vecferry_can_end_what_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_s: float, *, readable: bool
) -> None:
    monkeypatch.setattr(housekeeping, "LEAST_BOUND", 2**20)
    monkeypatch.setattr(housekeeping, "KEEP_AT_LEAST_S", kept_s)
    store = LanceStore(str(tmp_path), collection(), PLACEMENT)
    store.create(complete=False)
    ids = [f"x{number}" for number in range(200)]
    store.apply(batch([(Op.UPSERT, id_, at(0)) for id_ in ids]), ())
    began = table_in(tmp_path)
    version = began.version
    began.checkout(version)
    for number in range(1, 12):
        store.apply(batch([(Op.UPSERT, id_, at(number)) for id_ in ids]), ())
        store.maintain()
    if readable:
        assert began.to_arrow().num_rows >= len(ids)
    else:
        with pytest.raises(Exception, match=r"(?i)not found"):
            began.to_arrow()


def test_versions_are_dropped_where_another_writer_wins_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction writes, so another writer can win over it; deleting what only old versions name cannot be lost."""

    def loses(*_: object, **__: object) -> None:
        raise RuntimeError("lance error: Retryable commit conflict for version 10: This Rewrite transaction was …")

    monkeypatch.setattr(housekeeping, "LEAST_BOUND", 2**20)
    monkeypatch.setattr(housekeeping, "KEEP_AT_LEAST_S", 0.001)
    monkeypatch.setattr(LanceTable, "optimize", loses)
    store = LanceStore(str(tmp_path), collection(), PLACEMENT)
    store.create(complete=False)
    ids = [f"x{number}" for number in range(200)]
    for number in range(25):
        store.apply(batch([(Op.UPSERT, id_, at(number)) for id_ in ids]), ())
        store.maintain()
    assert len(list((tmp_path / f"{PLACEMENT.table}.lance" / "data").iterdir())) < 15
    assert store.count() == len(ids)


@pytest.mark.filterwarnings("ignore:optimize")
def test_what_a_tagged_version_needs_and_what_another_process_is_writing_is_not_deleted(
    tmp_path: Path, store: LanceStore
) -> None:
    store.apply(batch([(Op.UPSERT, "a", at(0))]), ())
    table = table_in(tmp_path)
    table.tags.create("mine", table.version)
    data = tmp_path / f"{PLACEMENT.table}.lance" / "data"
    (data / "begun.lance").write_bytes(b"by another process")
    for offset in range(1, 9):
        store.apply(batch([(Op.UPSERT, "a", at(offset))]), ())
    many = len(list(data.iterdir()))
    store._housekeeping.make_room()
    assert len(list(data.iterdir())) < many
    assert (data / "begun.lance").exists()
    table.checkout("mine")
    assert table.search().where("`sku` = 'a'").to_list()[0]["vecferry_position"] == at(0)
