"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def wait_until(
    predicate: Callable[[], T],
    timeout_s: float = 30.0,
    what: str = "the condition",
    said: Callable[[], str] = lambda: "",
) -> T:
    """Return the first true result of ``predicate()``; raise ``AssertionError`` when there is none in time.

    ``said``: what the processes that were waited for have said, for the error.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s; last result: {result!r}\n{said()}")
        time.sleep(POLL_S)
