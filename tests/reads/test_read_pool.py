"""Store handles: few, used by one thread at a time, dropped when broken, closed in the end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from memory_store import MemoryStore
from reads_fakes import COLLECTION
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import ConfigError, Fatal, Inconclusive, Overloaded, Transient, Unavailable
from vecferry.reads.deadline import Deadline, deadline_in
from vecferry.reads.pool import StorePool
from vecferry.stores.base import Store
from waiting import wait_until


class Opened:
    """Opens memory stores and keeps them."""

    def __init__(self) -> None:
        self.handles: list[MemoryStore] = []

    def __call__(self, name: str) -> Store:
        self.handles.append(MemoryStore(COLLECTION))
        return self.handles[-1]


def soon(seconds: float = 20.0) -> Deadline:
    return deadline_in(seconds, SYSTEM_CLOCK)


def test_a_handle_is_used_by_one_thread_at_a_time_and_there_are_few() -> None:
    opened = Opened()
    pool = StorePool(opened, max_handles=3)
    busy: set[int] = set()
    shared: list[int] = []
    lock = threading.Lock()
    full = threading.Barrier(3)

    def work(store: Store) -> None:
        with lock:
            shared.extend({id(store)} & busy)
            busy.add(id(store))
        full.wait(20)
        with lock:
            busy.discard(id(store))

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(lambda _: pool.call("s", work, soon()), range(30)))
    assert shared == []
    assert len(opened.handles) == 3
    pool.close()
    assert all(handle.closed for handle in opened.handles)


def test_one_caller_after_another_needs_one_handle() -> None:
    opened = Opened()
    pool = StorePool(opened)
    for _ in range(20):
        pool.call("s", lambda store: store.count(), soon())
    assert len(opened.handles) == 1


@pytest.mark.parametrize("error", [Transient("gone"), Overloaded("busy", retry_after_s=0.001)])
def test_what_may_pass_is_tried_once_more_on_a_new_handle(error: Exception) -> None:
    opened = Opened()
    pool = StorePool(opened)
    failures = [error]

    def work(store: Store) -> Store:
        if failures:
            raise failures.pop()
        return store

    assert pool.call("s", work, soon()) is opened.handles[1]
    assert [handle.closed for handle in opened.handles] == [True, False]
    failures.extend([error, error])
    with pytest.raises(type(error)):
        pool.call("s", work, soon())


def test_an_overloaded_store_is_not_asked_again_after_the_deadline() -> None:
    pool = StorePool(Opened())
    calls: list[Store] = []

    def work(store: Store) -> None:
        calls.append(store)
        raise Overloaded("busy", retry_after_s=60.0)

    with pytest.raises(Overloaded):
        pool.call("s", work, soon())
    assert len(calls) == 1


def test_a_broken_handle_takes_the_idle_ones_with_it() -> None:
    opened = Opened()
    pool = StorePool(opened)
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: pool.call("s", lambda _: together.wait(20), soon()), range(2)))

    def broken(store: Store) -> None:
        raise Fatal("unknown")

    with pytest.raises(Fatal):
        pool.call("s", broken, soon())
    assert [handle.closed for handle in opened.handles] == [True, True]


def test_a_handle_in_use_is_closed_when_its_work_ends() -> None:
    opened = Opened()
    pool = StorePool(opened)
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work(store: Store) -> None:
        begun.set()
        release.wait(20)
        ended.set()

    with pytest.raises(Inconclusive, match="store 's' did not answer in time"):
        pool.call("s", work, soon(2.0))  # what has not begun by then never runs
    assert begun.wait(20)
    pool.close()
    assert not opened.handles[0].closed
    release.set()
    assert ended.wait(20)
    pool._lanes["s"]._executor.shutdown(wait=True)
    assert opened.handles[0].closed
    with pytest.raises(Unavailable, match="closed"):
        pool.call("s", work, soon())


def test_work_that_had_not_begun_when_the_pool_was_closed_is_unavailable() -> None:
    pool = StorePool(Opened(), max_handles=1)
    begun, release = threading.Event(), threading.Event()

    def work(store: Store) -> None:
        begun.set()
        release.wait(20)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.call, "s", work, soon())
        assert begun.wait(20)
        second = threads.submit(pool.call, "s", work, soon())
        wait_until(lambda: pool._lanes["s"]._executor._work_queue.qsize() == 1)
        pool.close()
        with pytest.raises(Unavailable, match="this pipeline is closed"):
            second.result(20)
        release.set()
        first.result(20)


def test_a_store_that_cannot_be_opened_says_why_each_time() -> None:
    def refuse(name: str) -> Store:
        raise ConfigError(f"store kind {name!r} needs a client")

    pool = StorePool(refuse)
    for _ in range(2):
        with pytest.raises(ConfigError, match="needs a client"):
            pool.call("s", lambda store: store.count(), soon())


def test_a_time_out_error_of_the_work_itself_is_not_taken_for_the_deadline() -> None:
    def work(store: Store) -> None:
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        StorePool(Opened()).call("s", work, soon())
