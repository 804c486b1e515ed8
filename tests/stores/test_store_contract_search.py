"""The contract of ``stores/base.py``, part three: searches, their scores and their filters."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from store_data import DIMENSION, PLACEMENT, at, batch, batch_of, collection
from store_factory import StoreFactory
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import Metric
from vecferry.schemas.filters import parse_filter
from vecferry.stores.base import Store

TIMEOUT_S = 30.0
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


def expected_scores(metric: Metric, vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    wide, wanted = vectors.astype(np.float64), query.astype(np.float64)
    match metric:
        case "cosine":
            return wide @ wanted / (np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted))
        case "dot":
            return wide @ wanted
        case "l2":
            return -np.linalg.norm(wide - wanted, axis=1)


@pytest.mark.parametrize("with_index", [False, True], ids=["exact", "index"])
@pytest.mark.parametrize("metric", METRICS)
def test_order_and_scores_follow_the_metric(store_factory: StoreFactory, metric: Metric, with_index: bool) -> None:
    rng = np.random.default_rng(7)
    vectors = (rng.standard_normal((300, DIMENSION)) * rng.uniform(0.1, 5, (300, 1))).astype(np.float32)
    query = rng.standard_normal(DIMENSION).astype(np.float32)
    store = store_factory(collection(metric=metric), PLACEMENT)
    store.apply(batch_of([f"n{i}" for i in range(300)], vectors, [{"n": i} for i in range(300)]), ())
    if with_index:
        store.build_index()
        store.build_index()
        assert store.index_ready()
    scores = expected_scores(metric, vectors, query)
    best = np.argsort(-scores)[:20]
    hits = store.search(query, 20, (), TIMEOUT_S)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    found = {hit.id for hit in hits} & {f"n{i}" for i in best}
    assert len(found) >= (20 if not with_index else 17)
    for hit in hits:
        row = int(hit.id[1:])
        assert hit.score == pytest.approx(scores[row], rel=1e-4, abs=1e-5)
        assert hit.metadata == {"n": row}
        assert hit.position == at(row)


def ids(store: Store, spec: dict[str, object] | None = None, k: int = 50) -> set[str]:
    hits = store.search(np.ones(DIMENSION, dtype=np.float32), k, parse_filter(spec), TIMEOUT_S)
    assert len({hit.id for hit in hits}) == len(hits)
    return {hit.id for hit in hits}


def test_deleted_rows_are_hidden_and_k_may_exceed_what_there_is(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    assert ids(store) == set()
    store.apply(batch((Op.UPSERT, name, at(1)) for name in "abcd"), ())
    store.apply(batch([(Op.DELETE, "a", at(2)), (Op.DELETE, "never there", at(2))]), ())
    assert ids(store, k=100) == {"b", "c", "d"}
    assert len(ids(store, k=2)) == 2
    store.apply(batch([(Op.SNAPSHOT, "a", at(1)), (Op.DELETE, "b", at(3))]), ())
    assert ids(store) == {"c", "d"}
    store.apply(batch([(Op.UPSERT, "a", at(4))]), ())
    assert ids(store) == {"a", "c", "d"}


def test_an_update_is_found_where_it_is_now(store_factory: StoreFactory) -> None:
    store = store_factory(collection(metric="l2"), PLACEMENT)
    vectors = np.eye(DIMENSION, dtype=np.float32)
    store.apply(batch_of([f"e{i}" for i in range(DIMENSION)], vectors, [{}] * DIMENSION), ())
    store.build_index()
    store.apply(batch_of(["e0"], 9 * vectors[:1], [{"moved": True}], first=50), ())
    assert store.search(vectors[0], 1, (), TIMEOUT_S)[0].id != "e0"
    hit = store.search(9 * vectors[0], 1, (), TIMEOUT_S)[0]
    assert (hit.id, hit.score, hit.metadata, hit.position) == (
        "e0",
        pytest.approx(0, abs=1e-6),
        {"moved": True},
        at(50),
    )


FILTERED: dict[str, dict[str, object]] = {
    "int": {"v": 1},
    "float": {"v": 1.0},
    "half": {"v": 0.5},
    "true": {"v": True},
    "false": {"v": False},
    "zero": {"v": 0},
    "text": {"v": "1"},
    "quote": {"v": 'it\'s "1" \\ %s {} \U0001f600'},
    "empty": {"v": ""},
    "null": {"v": None},
    "missing": {"other": 1},
    "bare": {},
    "list": {"v": [1]},
    "object": {"v": {"v": 1}},
    "big": {"v": 2**53 - 1},
    "both": {"v": 1, "other": "x"},
}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"v": 1}, {"int", "float", "both"}),
        ({"v": 1.0}, {"int", "float", "both"}),
        ({"v": 0.5}, {"half"}),
        ({"v": True}, {"true"}),
        ({"v": False}, {"false"}),
        ({"v": 0}, {"zero"}),
        ({"v": "1"}, {"text"}),
        ({"v": 'it\'s "1" \\ %s {} \U0001f600'}, {"quote"}),
        ({"v": ""}, {"empty"}),
        ({"v": None}, {"null", "missing", "bare"}),
        ({"v": 2**53 - 1}, {"big"}),
        ({"v": "nothing"}, set()),
        ({"v": {"$in": ["1", True, 0.5]}}, {"text", "true", "half"}),
        ({"v": {"$in": [0, None]}}, {"zero", "null", "missing", "bare"}),
        ({"v": 1, "other": "x"}, {"both"}),
        ({"v": 1, "other": None}, {"int", "float"}),
        ({"unheard of": None}, set(FILTERED)),
        ({"unheard of": 1}, set()),
        ({"it's": 1}, set()),
        ({"": None}, set(FILTERED)),
    ],
)
def test_filters(store_factory: StoreFactory, spec: dict[str, object], wanted: set[str]) -> None:
    store = store_factory(collection(), PLACEMENT)
    store.apply(batch((Op.UPSERT, name, at(1), metadata) for name, metadata in FILTERED.items()), ())
    assert ids(store, spec) == wanted


def test_filters_hold_with_an_index_and_after_deletes(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    events = [(Op.UPSERT, f"n{i}", at(1), {"rare": i % 100 == 0, "n": i}) for i in range(600)]
    store.apply(batch(events), ())
    store.build_index()
    store.apply(batch([(Op.DELETE, "n100", at(2))]), ())
    assert ids(store, {"rare": True}, k=10) == {"n0", "n200", "n300", "n400", "n500"}


def test_a_filter_finds_k_rows_that_lie_behind_thousands_of_nearer_ones(store_factory: StoreFactory) -> None:
    store = store_factory(collection(metric="l2"), PLACEMENT)
    rows, far = 3_000, 2_400
    vectors = np.random.default_rng(5).uniform(-0.5, 0.5, (rows, DIMENSION)).astype(np.float32)
    vectors[:, 0] += np.arange(rows)
    store.apply(batch_of([f"n{i}" for i in range(rows)], vectors, [{"far": i >= far} for i in range(rows)]), ())
    store.build_index()
    found = ids(store, {"far": True}, k=10)
    assert len(found) == 10
    assert min(int(id_[1:]) for id_ in found) >= far


def test_a_small_collection_needs_no_index(store_factory: StoreFactory) -> None:
    store = store_factory(collection(), PLACEMENT)
    assert store.index_ready()
    store.build_index()
    store.maintain()
    assert store.index_ready()
