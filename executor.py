"""Where work runs beside its caller: in threads, or, in a simulation, in the caller's own."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

T = TypeVar("T")

_LOOK_S = 1.0


class Executor(Protocol):
    """Runs tasks one after the other, in the order in which they were given."""

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Have ``task`` run. Does not block."""
        ...

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        """Whether ``future`` is done, waiting for it at most ``timeout_s``."""
        ...

    def shutdown(self) -> None:
        """Block until all tasks have ended."""
        ...


class OneThread:
    """An executor with one thread. It is made with the first task."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, task: Callable[[], T]) -> Future[T]:
        return self._pool.submit(task)

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        return bool(wait([future], timeout_s).done)

    def shutdown(self) -> None:
        self._pool.shutdown()


class Daemon:
    """An executor whose threads keep the process from ending for ``at_exit_s`` at most.

    A thread that loads a library while the interpreter is being taken down may end the process with a crash.
    """

    def __init__(self, name: str, *, at_exit_s: float = 0.0) -> None:
        self._name = name
        self._at_exit_s = at_exit_s
        self._last: threading.Thread | None = None
        if at_exit_s:
            _daemons.add(self)

    def submit(self, task: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        before = self._last

        def run() -> None:
            if before is not None:
                before.join()
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)
                raise  # perhaps nobody waits for the future: the thread's own hook tells it

        self._last = threading.Thread(target=run, name=self._name, daemon=True)
        self._last.start()
        return future

    def wait(self, future: Future[T], timeout_s: float) -> bool:
        return bool(wait([future], timeout_s).done)

    def shutdown(self) -> None:
        if self._last is not None:
            self._last.join()

    def _await(self) -> None:
        if self._last is not None:
            self._last.join(self._at_exit_s)


_daemons: weakref.WeakSet[Daemon] = weakref.WeakSet()


def _at_exit() -> None:
    for daemon in list(_daemons):
        daemon._await()


atexit.register(_at_exit)

Threads = Callable[[str], Executor]  # makes an executor of that name


def result_of(executor: Executor, future: Future[T]) -> T:
    """What a task of ``executor`` returned; blocks until it has ended, and raises what it raised."""
    while not executor.wait(future, _LOOK_S):
        pass
    return future.result()
