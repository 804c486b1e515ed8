"""The asyncio face: same answers, bounded threads, cancellation, time-outs."""

from __future__ import annotations

import asyncio
import threading

import pytest
from reads_fakes import World
from vecferry.clock import SYSTEM_CLOCK
from vecferry.errors import Inconclusive, InvalidRecord, Unavailable
from vecferry.reads.async_reader import AsyncReader
from vecferry.reads.session import Session


def world_with_a_row() -> World:
    world = World()
    world.write("a", 1)
    world.apply("old")
    return world


def test_it_answers_as_the_reader_does() -> None:
    async def main() -> None:
        world = world_with_a_row()
        async with AsyncReader(world.reader(), clock=SYSTEM_CLOCK) as reader:
            session = Session()
            many = await asyncio.gather(*(reader.get(["a"], session=session) for _ in range(100)))
            assert [rows[0].metadata for rows in many] == [{"v": 1}] * 100
            assert [hit.id for hit in await reader.search([1.0, 0.0], 3, filter={"v": 1})] == ["a"]
            assert reader.stats.reads == {"old": 101}
            assert reader.route == reader.known_route
            with pytest.raises(InvalidRecord):
                await reader.search([1.0], 3)
        with pytest.raises(Unavailable, match="closed"):
            await reader.get(["a"])

    asyncio.run(main())


@pytest.mark.slow
def test_a_read_that_finds_no_thread_in_time_is_inconclusive() -> None:
    async def main() -> None:
        world, begun, release = world_with_a_row(), threading.Semaphore(0), threading.Event()

        def hold(method: str) -> None:
            begun.release()
            release.wait(30)

        world.before["old"] = hold
        async with AsyncReader(world.reader(), clock=SYSTEM_CLOCK, max_reads=2) as reader:
            stuck = [asyncio.ensure_future(reader.get(["a"], timeout=30.0)) for _ in range(2)]
            for _ in stuck:
                assert await asyncio.to_thread(begun.acquire, timeout=20)
            with pytest.raises(Inconclusive, match=r"0\.2 s"):
                await reader.get(["a"], timeout=0.2)
            release.set()
            assert [len(await read) for read in stuck] == [1, 1]

    asyncio.run(main())


@pytest.mark.slow
def test_a_cancelled_read_ends_at_once_and_harms_nobody() -> None:
    async def main() -> None:
        world, begun, release = world_with_a_row(), threading.Event(), threading.Event()

        def hold(method: str) -> None:
            begun.set()
            release.wait(30)

        world.before["old"] = hold
        async with AsyncReader(world.reader(), clock=SYSTEM_CLOCK) as reader:
            read = asyncio.ensure_future(reader.get(["a"], timeout=30.0))
            assert await asyncio.to_thread(begun.wait, 20)
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            assert not release.is_set()
            release.set()
            assert len(await reader.get(["a"], timeout=20.0)) == 1

    asyncio.run(main())
