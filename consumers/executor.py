"""Runs calls to the store outside the polling thread, so that a slow store does not expel the worker from its group."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs tasks one after the other, in the order of ``submit``."""

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Queue ``task``. Does not block."""
        ...

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` for ``future``; returns whether it is done."""
        ...

    def shutdown(self) -> None:
        """Block until all tasks have ended."""
        ...


class OneThread:
    """An executor with one thread, which is the only one that uses the store."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, task: Callable[[], T]) -> Future[T]:
        return self._pool.submit(task)

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        return bool(wait([future], timeout_s).done)

    def shutdown(self) -> None:
        self._pool.shutdown()
