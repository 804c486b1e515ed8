"""What Lance's exceptions become, from texts that Lance really wrote and from real failures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from lancedb.merge import LanceMergeInsertBuilder
from store_data import DIMENSION, PLACEMENT, at, batch, collection
from vecferry.errors import Fatal, Overloaded, Refused, Rejected, Transient, Unavailable, VecferryError
from vecferry.schemas.batch import EventBatch, Op, Outcome
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.errors import Gone, mapped
from vecferry.stores.lancedb.options import Options
from vecferry.stores.lancedb.table import MERGE_TRIES

SEEN: list[tuple[Exception, type[VecferryError]]] = [
    (RuntimeError("lance error: Retryable commit conflict for version 10: This Rewrite transaction was …"), Transient),
    (RuntimeError("lance error: Too many concurrent writers. Attempted 11 times"), Transient),
    (OSError(28, "No space left on device"), Overloaded),
    (PermissionError(13, "Permission denied"), Unavailable),
    (FileExistsError(17, "File exists"), Unavailable),
    (RuntimeError("lance error: Not found: data/ab.lance"), Gone),
    (ValueError("Version 3 no longer exists. Was it cleaned up?"), Gone),
    (RuntimeError("LanceError(Arrow): Invalid argument error: Failed to encode JSON: EOF"), Rejected),
    (TypeError("Size of FixedSizeList is not the same. input list: …"), Rejected),
    (RuntimeError("something that nobody has seen yet"), Fatal),
    (KeyError("id"), Fatal),
]


@pytest.mark.parametrize(("error", "kind"), SEEN, ids=str)
def test_the_table_of_errors(error: Exception, kind: type[VecferryError]) -> None:
    found = mapped(error, "lancedb table 't' in /somewhere")
    assert type(found) is kind
    assert "/somewhere" in str(found)
    if isinstance(found, Overloaded):
        assert found.retry_after_s > 0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(Options.model_validate({"uri": str(tmp_path / "lance")}), collection(), PLACEMENT)
    store.create(complete=False)
    return store


def changed(**columns: object) -> EventBatch:
    good = batch([(Op.UPSERT, "a", at(1))])
    values = {name: columns.get(name, getattr(good, name)) for name in EventBatch.__dataclass_fields__}
    return EventBatch(**values)


@pytest.mark.parametrize(
    "bad",
    [
        changed(vectors=np.zeros((1, DIMENSION + 1), np.float32)),
        changed(ids=["\x00vecferry/live/0"]),
        changed(metadata=[b'{"a": ']),
        changed(metadata=[b'{"a": "\xff"}']),
    ],
    ids=["dimension", "reserved id", "not JSON", "not UTF-8"],
)
def test_what_can_never_be_stored_is_rejected_and_nothing_is_written(store: Store, bad: EventBatch) -> None:
    with pytest.raises(Rejected):
        store.apply(bad, [])
    assert store.count() == 0


def test_a_place_that_is_not_a_directory_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(Options.model_validate({"uri": str(tmp_path / "file")}), collection(), PLACEMENT)
    with pytest.raises(Unavailable, match=str(tmp_path / "file")):
        store.create(complete=False)


def test_looking_does_not_make_a_directory(tmp_path: Path) -> None:
    store = open_store(Options.model_validate({"uri": str(tmp_path / "absent")}), collection(), PLACEMENT)
    assert store.check() == ()
    assert store.count() == 0
    with pytest.raises(Refused, match="create it first"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), [])
    assert not os.path.exists(tmp_path / "absent")


CONTENTION = "lance error: Too many concurrent writers. Attempted 10 retries., retry.rs:103:9"


def contended(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Lance gives up that many merges: so it does beside a writer that never pauses, but only one in a hundred."""
    execute, left = LanceMergeInsertBuilder.execute, [times]

    def giving_up(*arguments: object, **options: object) -> object:
        if left[0]:
            left[0] -= 1
            raise RuntimeError(CONTENTION)
        return execute(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LanceMergeInsertBuilder, "execute", giving_up)
    return left


def test_a_merge_that_other_writers_came_before_is_begun_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    left = contended(monkeypatch, MERGE_TRIES - 1)
    assert store.apply(batch([(Op.UPSERT, "a", at(1))]), []).tolist() == [Outcome.APPLIED]
    assert left == [0]
    assert store.apply(batch([(Op.UPSERT, "a", at(1))]), []).tolist() == [Outcome.DUPLICATE]


def test_a_merge_is_not_begun_anew_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    contended(monkeypatch, MERGE_TRIES)
    with pytest.raises(Transient, match="Too many concurrent writers"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), [])
    assert store.count() == 0
