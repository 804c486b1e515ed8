"""Store handles, a few per store, each used by one thread at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

from ..errors import ConfigError, Forked, Inconclusive, InvalidRecord, Overloaded, Transient, Unavailable, VecferryError
from ..executor import Daemon
from ..forks import Home
from ..stores.base import Store
from .deadline import Deadline

T = TypeVar("T")

_log = logging.getLogger("vecferry.reads")

MAX_HANDLES = 8
_AT_EXIT_S = 3.0


def _nothing(_store: Store) -> None:
    """The work of somebody who only wants it open."""


class _Lane:
    """The threads and the idle handles of one store."""

    def __init__(
        self, name: str, open_store: Callable[[str], Store], warm_up: Callable[[Store], object], max_handles: int
    ) -> None:
        self._name = name
        self._open_store = open_store
        self._warm_up = warm_up
        self._max_handles = max_handles
        self._executor = ThreadPoolExecutor(max_handles, thread_name_prefix=f"vecferry-read-{name}")
        self._openings = Daemon(f"vecferry-open-{name}", at_exit_s=_AT_EXIT_S)  # for it alone: a store may hang
        self._lock = threading.Lock()
        self._idle: list[Store] = []
        self._closed = False
        self.handles = 0

    def call(self, work: Callable[[Store], T], deadline: Deadline) -> T:
        """``work`` on a handle. The work runs in a thread of its own, because most store calls take no time-out."""
        try:
            future = self._executor.submit(self._run, work)
        except RuntimeError as error:
            raise _closed() from error
        try:
            return future.result(deadline.left_s())
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()  # work that has begun ends by itself, and its handle is used again then
            raise Inconclusive(f"store {self._name!r} did not answer in time") from None
        except CancelledError as error:  # the pool was closed before the work began
            raise _closed() from error

    def prepare(self, handles: int) -> Future[VecferryError | None]:
        """Begin to have that many handles that have answered once; the future says why there are fewer."""
        with self._lock:
            return self._openings.submit(lambda: self._prepare(handles))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self._executor.shutdown(wait=False, cancel_futures=True)
        for store in idle:
            store.close()

    def _prepare(self, handles: int) -> VecferryError | None:
        try:
            while self.handles < min(handles, self._max_handles):
                self._use(self._open(), self._warm_up)
        except VecferryError as error:
            level = logging.WARNING if isinstance(error, (ConfigError, Forked)) else logging.INFO  # the rest may pass
            _log.log(level, "store %s is not open yet: %s", self._name, error)
            return error
        return None

    def _run(self, work: Callable[[Store], T]) -> T:
        with self._lock:
            store = self._idle.pop() if self._idle else None
        return self._use(store or self._open(), work)

    def _open(self) -> Store:
        with self._lock:
            if self._closed:
                raise _closed()
        store = self._open_store(self._name)
        with self._lock:
            self.handles += 1
        return store

    def _use(self, store: Store, work: Callable[[Store], T]) -> T:
        try:
            result = work(store)
        except (Inconclusive, InvalidRecord):
            self._give_back(store)  # the question failed, not the handle
            raise
        except BaseException:
            self._drop(store)
            raise
        self._give_back(store)
        return result

    def _give_back(self, store: Store) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(store)
                return
        store.close()

    def _drop(self, broken: Store) -> None:
        """Close ``broken`` and the idle handles too: what broke one connection has most likely broken them all."""
        with self._lock:
            idle, self._idle = self._idle, []
            self.handles -= 1 + len(idle)
        for store in (broken, *idle):
            store.close()


class StorePool:
    """Handles of one collection in every store, shared by all readers of the collection.

    They are opened when first used, or ahead, by :meth:`prepare`. ``warm_up`` is then called with each: it has the
    store do what makes its first answer slow.
    """

    def __init__(
        self,
        open_store: Callable[[str], Store],
        *,
        warm_up: Callable[[Store], object] = _nothing,
        max_handles: int = MAX_HANDLES,
    ) -> None:
        self._open_store = open_store
        self._warm_up = warm_up
        self._max_handles = max_handles
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._closed = False
        self._home = Home("this pool of stores", self)

    def call(self, store: str, work: Callable[[Store], T], deadline: Deadline) -> T:
        """What ``work`` returns for a handle of ``store``; a transient failure is tried once more, on a new handle.

        Blocks until ``deadline`` at most, then raises Inconclusive. Raises what the store raises, and ConfigError for a
        store that cannot be opened.
        """
        lane = self._lane(store)
        try:
            return lane.call(work, deadline)
        except Overloaded as error:
            if error.retry_after_s >= deadline.left_s():
                raise
            deadline.clock.sleep_s(error.retry_after_s)
        except Transient:
            if not deadline.left_s():
                raise
        return lane.call(work, deadline)

    def prepare(self, store: str) -> Future[VecferryError | None]:
        """Begin to open ``store``, with as many warm handles as the busiest store has by now. Does not block.

        The future holds why that failed, or None.
        """
        lane = self._lane(store)
        with self._lock:
            most = max(lane.handles for lane in self._lanes.values())
        return lane.prepare(max(1, most))

    def open(self, store: str, deadline: Deadline) -> None:
        """As :meth:`prepare`, but blocks until it is done, and raises why it failed. Inconclusive after ``deadline``.

        The opening goes on behind the deadline.
        """
        try:
            failure = self.prepare(store).result(deadline.left_s())
        except TimeoutError:
            raise Inconclusive(f"store {store!r} did not answer in time") from None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close every handle; one that is in use is closed as soon as its call ends. Does not block; idempotent."""
        if self._home.left:
            return
        with self._lock:
            self._closed = True
            lanes = tuple(self._lanes.values())
        for lane in lanes:
            lane.close()

    def _lane(self, store: str) -> _Lane:
        self._home.check()
        with self._lock:
            if self._closed:
                raise _closed()
            lane = self._lanes.get(store)
            if lane is None:
                lane = self._lanes[store] = _Lane(store, self._open_store, self._warm_up, self._max_handles)
            return lane


def _closed() -> Unavailable:
    return Unavailable("this pipeline is closed; open another one")
