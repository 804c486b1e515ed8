"""Several collections in one worker process."""

from __future__ import annotations

import logging
from threading import Event
from typing import cast

import pytest
from vecferry.consumers.applying import Abandoned
from vecferry.consumers.service import _run_all
from vecferry.consumers.worker import CollectionWorker
from vecferry.errors import Refused


class Ending:
    """A worker that ends with ``error``; with ``waits``, once it is stopped."""

    def __init__(self, error: Exception, *, waits: bool) -> None:
        self._error, self._stopped = error, Event()
        if not waits:
            self._stopped.set()

    def run(self) -> None:
        assert self._stopped.wait(30)
        raise self._error

    def stop(self) -> None:
        self._stopped.set()


def test_the_failure_that_stopped_the_others_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    abandoned = Ending(Abandoned("things: the store did not finish its batch in time"), waits=True)
    cause = Ending(Refused("topic does not exist"), waits=False)
    with caplog.at_level(logging.WARNING), pytest.raises(Refused, match="topic does not exist"):
        _run_all(cast(list[CollectionWorker], [abandoned, cause]), Event())
    assert "did not finish its batch in time" in caplog.text
