"""One batch into a store that fails: what is written again, and what must not be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from memory_store import MemoryStore
from numpy.typing import NDArray
from store_data import DIMENSION, at, batch, collection
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.applying import Applier
from vecferry.errors import Fatal, Rejected, Transient
from vecferry.schemas.batch import EventBatch, LiveMark, Mark, Op, Outcome

MARK = LiveMark(partition=1, next_offset=10)
LATER = LiveMark(partition=1, next_offset=20, known=10)


class Primary(MemoryStore):
    """A server that can be replaced, at any call, by a replica that lacks what came after ``snapshot``."""

    def __init__(self) -> None:
        super().__init__(collection(), self._hook)
        self.fails_at = ""
        self.fails_after = ""
        self.then_fails_at = ""
        self.create(complete=False)
        self._kept = (dict(self.rows), dict(self.live))

    def replicate(self) -> None:
        """From now on a replica has what is there."""
        self._kept = (dict(self.rows), dict(self.live))

    def fail_over(self) -> None:
        """The replica takes over."""
        self.rows, self.live = dict(self._kept[0]), dict(self._kept[1])

    def _hook(self, method: str) -> None:
        if method == self.fails_at:
            self.fails_at = ""
            self.fail_over()
            raise Transient("the connection was lost")

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        outcomes = super().apply(batch, marks)
        if self.fails_after == "apply":
            self.fails_after = ""
            self.fails_at = self.then_fails_at
            raise Transient("the connection was lost after the commit")
        return outcomes


def applier(store: MemoryStore) -> Applier:
    return Applier(store, DIMENSION, SYSTEM_CLOCK, lambda: False)


def test_a_failure_that_passes_is_tried_again_and_the_mark_is_written() -> None:
    store = Primary()
    store.fails_at = "apply"
    result = applier(store).apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    assert result.outcomes.tolist() == [Outcome.APPLIED]
    assert store.live[1] == 10


def test_a_connection_lost_after_the_commit_is_no_loss() -> None:
    store = Primary()
    store.fails_after = "apply"
    result = applier(store).apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    assert result.outcomes.tolist() == [Outcome.DUPLICATE]
    assert (store.rows["a"].position, store.live[1]) == (at(9), 10)


def test_a_replica_that_lacks_acknowledged_writes_gets_no_mark_above_them() -> None:
    store = Primary()
    worker = applier(store)
    worker.apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    store.fails_at = "apply"  # the write of a is lost with the old server
    with pytest.raises(Fatal, match="start the worker again"):
        worker.apply(batch([(Op.UPSERT, "b", at(19))]), [LATER])
    assert "a" not in store.rows
    assert store.live[1] == 0


def test_a_replica_that_has_everything_is_gone_on_with() -> None:
    store = Primary()
    worker = applier(store)
    worker.apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    store.replicate()
    store.fails_at = "apply"
    worker.apply(batch([(Op.UPSERT, "b", at(19))]), [LATER])
    assert set(store.rows) == {"a", "b"}
    assert store.live[1] == 20


@pytest.mark.parametrize("method", ["apply", "applied"])
def test_a_server_that_takes_over_during_the_retry_is_noticed_too(method: str) -> None:
    store = Primary()
    worker = applier(store)
    worker.apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    if method == "apply":
        store.fails_after, store.then_fails_at = "apply", "apply"
        with pytest.raises(Fatal):
            worker.apply(batch([(Op.UPSERT, "b", at(19))]), [LATER])
    else:
        store.fails_at = "applied"
        with pytest.raises(Fatal):
            worker.applied()
    assert store.live[1] == 0


def test_a_store_that_was_made_anew_behind_a_working_connection_gets_no_mark() -> None:
    store = Primary()
    worker = applier(store)
    worker.apply(batch([(Op.UPSERT, "a", at(9))]), [MARK])
    store.fail_over()
    with pytest.raises(Fatal, match="partition 1 up to offset 0, after it had acknowledged 10"):
        worker.apply(batch([(Op.UPSERT, "b", at(19))]), [LATER])
    assert (store.rows, store.live[1]) == ({}, 0)


class Picky(Primary):
    """Refuses one id."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if "poison" in batch.ids:
            raise Rejected("poison")
        return super().apply(batch, marks)


def test_the_mark_behind_a_letter_asks_for_the_same() -> None:
    store = Picky()
    worker = applier(store)
    events = batch([(Op.UPSERT, "a", at(9)), (Op.UPSERT, "poison", at(8))])
    assert worker.apply(events, [MARK]).rejected == {1: "poison"}
    worker.mark([MARK])
    assert worker.apply(batch([(Op.UPSERT, "poison", at(18))]), [LATER]).rejected == {0: "poison"}
    store.fail_over()
    with pytest.raises(Fatal):
        worker.mark([LATER])
    assert store.live[1] == 0
