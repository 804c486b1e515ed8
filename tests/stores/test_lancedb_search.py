"""Search with and without an index, pages of an export, and housekeeping."""

from __future__ import annotations

from pathlib import Path

import lancedb
import numpy as np
import pytest
from store_data import at, batch_of, collection
from vecferry.errors import Inconclusive, Refused, Transient
from vecferry.schemas.batch import EventBatch, LiveMark, Op, SnapshotMark
from vecferry.schemas.collection import Metric, Placement
from vecferry.schemas.filters import parse_filter
from vecferry.stores.lancedb import search as search_module
from vecferry.stores.lancedb.housekeeping import COMMITS_AWAITING_INDEX, COMMITS_PER_COMPACTION
from vecferry.stores.lancedb.store import INDEX_TRIES, LanceStore

DIMENSION = 16
ROWS = 3_000
VECTORS = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
IDS = [f"id-{number:05d}" for number in range(ROWS)]
METADATA = [{"group": number % 100} for number in range(ROWS)]


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 1,000 rows were too many for a flat search."""
    monkeypatch.setattr(search_module, "FLAT_ROWS", 1_000)


def filled(directory: Path, metric: Metric = "cosine") -> LanceStore:
    store = LanceStore(str(directory), collection(dimension=DIMENSION, metric=metric), Placement(table="t"))
    store.create(complete=False)
    store.apply(batch_of(IDS, VECTORS, METADATA), [LiveMark(partition=0, next_offset=ROWS)])
    return store


def deletes(ids: list[str], first: int) -> EventBatch:
    rows = batch_of(ids, np.zeros((len(ids), DIMENSION), np.float32), [{}] * len(ids), first=first)
    return EventBatch(
        ids=rows.ids,
        ops=np.full(len(ids), Op.DELETE, np.int8),
        partitions=rows.partitions,
        positions=rows.positions,
        vectors=rows.vectors,
        metadata=[b""] * len(ids),
    )


def scores(query: np.ndarray, metric: Metric) -> np.ndarray:
    if metric == "dot":
        return VECTORS @ query
    if metric == "l2":
        return -np.linalg.norm(VECTORS - query, axis=1)
    return VECTORS @ query / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.usefixtures("small_limit")
def test_scores_and_recall(tmp_path: Path, metric: Metric, indexed: bool) -> None:
    store = filled(tmp_path, metric)
    assert not store.index_ready()
    if indexed:
        store.build_index()
        store.build_index()
        assert store.index_ready()
    found = 0
    for query in np.random.default_rng(2).standard_normal((20, DIMENSION)).astype(np.float32):
        truth = scores(query, metric)
        hits = store.search(query, 10, (), 30.0)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        np.testing.assert_allclose(
            [h.score for h in hits], [truth[IDS.index(h.id)] for h in hits], rtol=1e-4, atol=1e-4
        )
        found += len({IDS[i] for i in np.argsort(-truth)[:10]} & {hit.id for hit in hits})
    assert found >= (190 if indexed else 199)


@pytest.mark.usefixtures("small_limit")
def test_an_indexed_search_sees_later_writes_and_never_deleted_ids_or_marks(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.build_index()
    store.apply(deletes(IDS[:1_000], ROWS), [LiveMark(partition=0, next_offset=2 * ROWS)])
    store.apply(batch_of(["new"], VECTORS[:1], [{"group": 500}], first=3 * ROWS), [])
    assert store.search(VECTORS[0], 1, (), 30.0)[0].id == "new"
    assert {hit.id for hit in store.search(VECTORS[0], ROWS + 99, (), 30.0)} == {*IDS[1_000:], "new"}
    few = store.search(VECTORS[0], 100, parse_filter({"group": {"$in": [7, 500]}}), 30.0)
    assert {hit.id for hit in few} == {*IDS[1_007::100], "new"}
    assert few[0].position == at(3 * ROWS)


@pytest.mark.usefixtures("small_limit")
def test_an_index_for_another_metric_serves_no_search_and_is_refused_by_name(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.build_index()
    other = LanceStore(str(tmp_path), collection(dimension=DIMENSION, metric="l2"), Placement(table="t"))
    assert not other.index_ready()
    with pytest.raises(Refused, match="drop_index"):
        other.build_index()
    truth = scores(VECTORS[5], "l2")
    assert [hit.id for hit in other.search(VECTORS[5], 3, (), 30.0)] == [IDS[i] for i in np.argsort(-truth)[:3]]


def test_a_search_that_takes_too_long_is_inconclusive(tmp_path: Path) -> None:
    with pytest.raises(Inconclusive):
        filled(tmp_path).search(VECTORS[0], 10, (), 1e-9)


def test_an_export_goes_on_through_writes_and_sees_the_end_anew(tmp_path: Path) -> None:
    store = filled(tmp_path)
    seen = store.export(None, 700).rows.ids
    store.apply(batch_of(["id-99999"], VECTORS[:1], [{}], first=ROWS), [])
    while page := store.export(seen[-1], 700).rows.ids:
        seen += page
    assert seen == [*IDS, "id-99999"]
    assert store.export("id-02997", 5).rows.ids == ["id-02998", "id-02999", "id-99999"]


def test_scan_pages_are_full_however_small_the_commits(tmp_path: Path) -> None:
    store = LanceStore(str(tmp_path), collection(dimension=DIMENSION), Placement(table="t"))
    store.create(complete=False)
    for first in range(0, 100, 10):
        rows = slice(first, first + 10)
        store.apply(batch_of(IDS[rows], VECTORS[rows], METADATA[rows], first=first), [])
    (chunk,) = store.plan_chunks(1_000)
    assert [len(page) for page in store.scan(chunk, 30)] == [30, 30, 30, 10]
    chunks = store.plan_chunks(25)
    assert [sum(len(page) for page in store.scan(chunk, 7)) for chunk in chunks] == [25] * 4


def test_maintain_merges_files_when_enough_commits_piled_up(tmp_path: Path) -> None:
    store = LanceStore(str(tmp_path), collection(dimension=DIMENSION), Placement(table="t"))
    store.create(complete=False)
    table = lancedb.connect(tmp_path).open_table("t")

    def files() -> int:
        table.checkout_latest()
        return int(table.stats()["fragment_stats"]["num_fragments"])

    for number in range(COMMITS_PER_COMPACTION - 2):
        store.apply(batch_of([IDS[number]], VECTORS[:1], [{}], first=number), [])
        store.maintain()
    many = files()
    assert many >= COMMITS_PER_COMPACTION - 2
    for number in range(2):
        store.apply(batch_of([f"more-{number}"], VECTORS[:1], [{}], first=number), [])
    store.maintain()
    assert files() < many / 5
    assert store.count() == COMMITS_PER_COMPACTION


@pytest.mark.usefixtures("small_limit")
def test_a_loaded_table_is_left_alone_until_its_index_is_built(tmp_path: Path) -> None:
    store = filled(tmp_path)
    table = lancedb.connect(tmp_path).open_table("t")

    def merges(commits: int) -> bool:
        """Whether files are merged once ``commits`` commits have piled up."""
        store._housekeeping._commits = commits
        table.checkout_latest()
        before = table.version
        store.maintain()
        table.checkout_latest()
        return bool(table.version > before)

    write = batch_of(["id-99999"], VECTORS[:1], [{}], first=ROWS)
    store.apply(write, [])
    assert merges(COMMITS_PER_COMPACTION)  # it is still being loaded
    partitions = collection().partitions
    store.apply(
        deletes(["id-99998"], ROWS + 1),
        [SnapshotMark(run="r1", partition=p, next_offset=1, next_chunk=1, closed=True) for p in range(partitions)],
    )
    assert not merges(COMMITS_PER_COMPACTION)
    assert not merges(COMMITS_AWAITING_INDEX - COMMITS_PER_COMPACTION)
    assert merges(COMMITS_AWAITING_INDEX)  # nobody builds it
    store.build_index()
    store.apply(batch_of(["id-99997"], VECTORS[:1], [{}], first=ROWS + 2), [])
    assert merges(COMMITS_PER_COMPACTION)


@pytest.mark.parametrize("conflicts", [INDEX_TRIES - 1, INDEX_TRIES])
@pytest.mark.usefixtures("small_limit")
def test_an_index_whose_build_met_another_commit_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conflicts: int
) -> None:
    build, left = search_module.build_index, conflicts

    def preempted(connection: search_module.Connection) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise RuntimeError("Retryable commit conflict: CreateIndex was preempted by concurrent transaction Rewrite")
        build(connection)

    monkeypatch.setattr(search_module, "build_index", preempted)
    store = filled(tmp_path)
    if conflicts < INDEX_TRIES:
        store.build_index()
        assert store.index_ready()
    else:
        with pytest.raises(Transient):
            store.build_index()


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.usefixtures("small_limit")
def test_a_filtered_search_finds_k_rows_wherever_they_lie(tmp_path: Path, metric: Metric, indexed: bool) -> None:
    """Also those that are farthest, and those that are newer than the index."""
    store = filled(tmp_path, metric)
    if indexed:
        store.build_index()
    query = np.random.default_rng(7).standard_normal(DIMENSION).astype(np.float32)
    far = np.argsort(scores(query, metric))[:60].tolist()
    store.apply(batch_of([IDS[i] for i in far], VECTORS[far], [{"far": True}] * len(far), first=ROWS), [])
    store.apply(batch_of([f"new-{i}" for i in far], VECTORS[far], [{"far": True}] * len(far), first=2 * ROWS), [])
    store.apply(deletes([IDS[i] for i in far[:20]], 3 * ROWS), [])
    wanted = {*(IDS[i] for i in far[20:]), *(f"new-{i}" for i in far)}
    for k in (1, 10, 99, 100, 200):
        hits = store.search(query, k, parse_filter({"far": True}), 30.0)
        assert len(hits) == len({hit.id for hit in hits} & wanted) == min(k, len(wanted))
