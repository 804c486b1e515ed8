"""Store handles, a few per store, each used by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..errors import Inconclusive, InvalidRecord, Overloaded, Transient, Unavailable
from ..stores.base import Store
from .deadline import Deadline

T = TypeVar("T")

MAX_HANDLES = 8


class _Lane:
    """The threads and the idle handles of one store."""

    def __init__(self, name: str, open_store: Callable[[str], Store], max_handles: int) -> None:
        self._name = name
        self._open_store = open_store
        self._executor = ThreadPoolExecutor(max_handles, thread_name_prefix=f"vecferry-read-{name}")
        self._lock = threading.Lock()
        self._idle: list[Store] = []
        self._closed = False

    def call(self, work: Callable[[Store], T], deadline: Deadline) -> T:
        """``work`` on a handle. The work runs in a thread of its own, because most store calls take no time-out."""
        try:
            future = self._executor.submit(self._run, work)
        except RuntimeError as error:
            raise Unavailable("this pipeline is closed; open another one") from error
        try:
            return future.result(deadline.left_s())
        except TimeoutError:
            if future.done():
                return future.result()
            future.cancel()  # work that has begun ends by itself, and its handle is used again then
            raise Inconclusive(f"store {self._name!r} did not answer in time") from None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self._executor.shutdown(wait=False, cancel_futures=True)
        for store in idle:
            store.close()

    def _run(self, work: Callable[[Store], T]) -> T:
        with self._lock:
            store = self._idle.pop() if self._idle else None
        if store is None:
            store = self._open_store(self._name)
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
        for store in (broken, *idle):
            store.close()


class StorePool:
    """Handles of one collection in every store, opened when first used; shared by all readers of the collection."""

    def __init__(self, open_store: Callable[[str], Store], *, max_handles: int = MAX_HANDLES) -> None:
        self._open_store = open_store
        self._max_handles = max_handles
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._closed = False

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

    def open(self, store: str, deadline: Deadline) -> None:
        """Have a handle of ``store``; blocks and raises as :meth:`call`. Opening goes on behind ``deadline``."""
        self.call(store, _nothing, deadline)

    def close(self) -> None:
        """Close every handle; one that is in use is closed as soon as its call ends. Does not block; idempotent."""
        with self._lock:
            self._closed = True
            lanes = tuple(self._lanes.values())
        for lane in lanes:
            lane.close()

    def _lane(self, store: str) -> _Lane:
        with self._lock:
            if self._closed:
                raise Unavailable("this pipeline is closed; open another one")
            lane = self._lanes.get(store)
            if lane is None:
                lane = self._lanes[store] = _Lane(store, self._open_store, self._max_handles)
            return lane


def _nothing(_store: Store) -> None:
    """The work of somebody who only wants it open."""
