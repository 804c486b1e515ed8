"""An executor without a thread: a task runs when somebody waits for it and the test lets it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from vecferry.clock import Clock

T = TypeVar("T")


class SteppedExecutor:
    """``is_quick`` is asked at each wait: False means that the store takes longer than the wait."""

    def __init__(self, clock: Clock, is_quick: Callable[[], bool] = lambda: True) -> None:
        self._clock = clock
        self.is_quick = is_quick
        self._tasks: list[Callable[[], None]] = []

    def submit(self, task: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = task()
            except BaseException as error:  # noqa: BLE001  whoever waits for the future is told
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.append(run)
        return future

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        while not future.done() and self.is_quick():
            self.run_one()
        if not future.done():
            self._clock.sleep_s(timeout_s)
        return future.done()

    def run_one(self) -> bool:
        """Run the oldest task; False when there is none."""
        if not self._tasks:
            return False
        self._tasks.pop(0)()
        return True

    def shutdown(self) -> None:
        while self.run_one():
            pass
