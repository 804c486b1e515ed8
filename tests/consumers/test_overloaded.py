"""A store that asks for a pause gets it, neither less nor the pause of other failures."""

from __future__ import annotations

import pytest
from memory_store import MemoryStore
from step_clock import StepClock
from store_data import DIMENSION, at, batch, collection
from vecferry.consumers.applying import Abandoned, Applier
from vecferry.errors import Overloaded, StoreError, Transient
from vecferry.schemas.batch import LiveMark, Op


class Busy(MemoryStore):
    """Fails with ``errors``, one call each; ``tried_s`` says when it was asked."""

    def __init__(self, watch: StepClock, *errors: StoreError) -> None:
        super().__init__(collection(), self._asked)
        self.create(complete=False)
        self.tried_s: list[float] = []
        self._watch, self._errors = watch, list(errors)

    def _asked(self, method: str) -> None:
        if method == "apply":
            self.tried_s.append(self._watch.now_s)
            if self._errors:
                raise self._errors.pop(0)


def apply(store: Busy, watch: StepClock, *, give_up_s: float = float("inf")) -> None:
    applier = Applier(store, DIMENSION, watch, lambda: watch.now_s >= give_up_s)
    applier.apply(batch([(Op.UPSERT, "a", at(9))]), [LiveMark(partition=1, next_offset=10)])


def test_the_pause_that_a_store_asks_for_is_kept() -> None:
    watch = StepClock()
    store = Busy(watch, Overloaded("slow down", retry_after_s=7.0), Overloaded("slow down", retry_after_s=0.5))
    apply(store, watch)
    assert store.tried_s == pytest.approx([0.0, 7.0, 7.5])
    assert list(store.rows) == ["a"]


def test_it_does_not_lengthen_the_pause_after_other_failures() -> None:
    watch = StepClock()
    store = Busy(watch, Overloaded("slow down", retry_after_s=60.0), Transient("the connection was lost"))
    apply(store, watch)
    assert store.tried_s[1] == pytest.approx(60.0)
    assert 0 < store.tried_s[2] - store.tried_s[1] < 1


def test_a_worker_that_is_stopped_meanwhile_does_not_wait_for_its_end() -> None:
    watch = StepClock()
    store = Busy(watch, Overloaded("slow down", retry_after_s=3600.0))
    with pytest.raises(Abandoned, match="stopped while the store was failing: slow down"):
        apply(store, watch, give_up_s=2.0)
    assert watch.now_s < 3
    assert store.live[1] == 0
