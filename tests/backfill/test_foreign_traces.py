"""What a store must not carry when its group begins: marks and positions of another log."""

from __future__ import annotations

import numpy as np
import pytest
from memory_store import Entry, MemoryStore
from store_data import collection
from vecferry.backfill.groups import foreign_traces
from vecferry.schemas.batch import SnapshotMark
from vecferry.schemas.position import base_position, encode_position

CLOSED = SnapshotMark(run="r1", partition=1, next_offset=9, next_chunk=2, closed=True)


def store(*, epoch: int = 1) -> MemoryStore:
    """A source as an application has it, in an enrolment that was broken off before its group began."""
    made = MemoryStore(collection(epoch=epoch))
    made.load(["a"], np.ones((1, 8), np.float32), [b"{}"])
    made.create(complete=True)
    return made


def traces(of: MemoryStore, *, source: bool = True) -> str:
    return foreign_traces("old", of, of.collection, source=source)


def hold(made: MemoryStore, position: int, *, deleted: bool = False) -> MemoryStore:
    made.rows["x"] = Entry(position=position, deleted=deleted, vector=np.zeros(8, np.float32), metadata=b"")
    return made


def test_rows_without_a_position_and_an_enrolment_that_was_broken_off_are_fine() -> None:
    assert traces(store()) == ""
    assert traces(MemoryStore(collection()), source=False) == ""


def test_marks_of_events_are_refused() -> None:
    made = store()
    made.live[2] = 1
    assert "store old carries marks" in traces(made)


def test_marks_of_a_copy_are_refused() -> None:
    made = store()
    made.snapshots["r1", 1] = CLOSED
    assert "store old carries marks" in traces(made)


def test_a_target_that_is_called_complete_before_any_copy_is_refused() -> None:
    assert "store old carries marks" in traces(store(), source=False)


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("offset", [0, 500])
def test_a_row_or_a_delete_of_this_epoch_is_refused_though_all_marks_are_zero(offset: int, deleted: bool) -> None:
    problem = traces(hold(store(), encode_position(1, offset), deleted=deleted))
    assert "carries rows" in problem
    assert "epoch = 2" in problem


def test_a_row_that_an_earlier_copy_put_there_at_base_is_refused() -> None:
    target = MemoryStore(collection(epoch=3))
    target.collection = collection(epoch=4)  # so that the fake does not take BASE of epoch 3 for no position
    hold(target, base_position(3))
    assert traces(target, source=False) == ""
    target.collection = collection(epoch=2)
    assert "epoch = 4" in traces(target, source=False)


@pytest.mark.parametrize("held", [1, 2, 7])
def test_the_epoch_that_is_proposed_is_accepted(held: int) -> None:
    position = encode_position(held, 10)
    problem = traces(hold(store(epoch=1), position))
    (proposed,) = (epoch for epoch in range(1, 20) if f"epoch = {epoch}," in problem)
    assert proposed == held + 1
    assert traces(hold(store(epoch=proposed), position)) == ""
    assert traces(hold(store(epoch=held), position)) != ""


def test_only_a_source_may_hold_rows_without_a_position() -> None:
    made = MemoryStore(collection())
    made.load(["a"], np.ones((1, 8), np.float32), [b"{}"])
    assert "holds 1 row that vecferry did not write" in traces(made, source=False)
    made.create(complete=False)
    assert "collections.products.in.old.table" in traces(made, source=False)
    assert traces(made) == ""
