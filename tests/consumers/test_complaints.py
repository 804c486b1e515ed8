"""A worker whose store is full, read-only or away says so once, goes on, and says that too."""

from __future__ import annotations

import logging

import pytest
from memory_store import MemoryStore
from step_clock import StepClock
from store_data import DIMENSION, at, batch, collection
from vecferry.consumers.applying import Applier
from vecferry.consumers.complaints import SAY_AGAIN_S
from vecferry.errors import Overloaded, Unavailable, VecferryError
from vecferry.schemas.batch import LiveMark, Op

FULL = Overloaded("no space is left on its disk", retry_after_s=10.0)
AWAY = Unavailable("its disk is read-only")


class Failing(MemoryStore):
    """Fails until ``until_s`` as ``error`` says."""

    def __init__(self, watch: StepClock, until_s: float, error: VecferryError) -> None:
        super().__init__(collection(), self._asked)
        self.create(complete=False)
        self.error, self._watch, self._until_s = error, watch, until_s

    def _asked(self, method: str) -> None:
        if method == "apply" and self._watch.now_s < self._until_s:
            raise self.error


def said(caplog: pytest.LogCaptureFixture, until_s: float, error: VecferryError = FULL) -> list[str]:
    caplog.set_level(logging.INFO)
    watch = StepClock()
    store = Failing(watch, until_s, error)
    applier = Applier(store, DIMENSION, watch, lambda: False)
    applier.apply(batch([(Op.UPSERT, "a", at(9))]), [LiveMark(partition=1, next_offset=10)])
    assert list(store.rows) == ["a"]
    return caplog.messages


@pytest.mark.parametrize("error", [FULL, AWAY], ids=str)
def test_a_full_store_is_said_once_and_its_end_once(caplog: pytest.LogCaptureFixture, error: VecferryError) -> None:
    began, ended = said(caplog, SAY_AGAIN_S - 60.0, error)
    assert str(error) in began
    assert "the store answers again, after 5" in ended


def test_a_store_that_stays_full_is_said_every_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    lines = said(caplog, 3 * SAY_AGAIN_S - 60.0)
    assert len(lines) == 4
    assert "for 600 s (no space" in lines[1]


def test_another_reason_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = StepClock()
    store = Failing(watch, 25.0, FULL)

    def remounted() -> bool:
        if watch.now_s >= 10.0:
            store.error = AWAY
        return False

    applier = Applier(store, DIMENSION, watch, remounted)
    applier.apply(batch([(Op.UPSERT, "a", at(9))]), [])
    assert ["no space" in line for line in caplog.messages] == [True, False, False]
