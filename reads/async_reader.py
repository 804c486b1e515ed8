"""The reader for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from numpy.typing import ArrayLike

from ..clock import Clock
from ..errors import Inconclusive, InvalidRecord, Unavailable
from ..executor import Daemon
from ..forks import Home
from ..schemas.batch import Hit
from ..schemas.ids import Id
from .arguments import After, time_out_s
from .deadline import deadline_in
from .reader import DEFAULT_TIMEOUT_S, Reader
from .results import Row
from .route import Split
from .session import Session
from .stats import ReaderStats

T = TypeVar("T")

MAX_READS = 10_000
_OPEN_S = 10.0
_MARGIN_S = 0.05  # the thread gives up this much earlier, so that its reason reaches the caller


class AsyncReader:
    """The calls of :class:`Reader` as coroutines; made by ``pipeline.async_reader(name)``.

    They block a thread of this reader's own, at most ``max_reads`` at a time; the others wait within their time-out.
    The stores are opened in the background, from the making of the reader on; ``async with`` waits for them, 10 s at
    most.
    A cancelled call ends at once for its caller; the answer of a read that had begun is thrown away.
    """

    def __init__(self, reader: Reader, *, clock: Clock, max_reads: int = 32) -> None:
        if not isinstance(max_reads, int) or not 1 <= max_reads <= MAX_READS:
            raise InvalidRecord("max_reads", f"{max_reads!r:.40} reads at once", f"give 1 to {MAX_READS}")
        self._reader = reader
        self._clock = clock
        self._home = Home("this reader", self)
        self._opening = Daemon("vecferry-open").submit(lambda: reader.open(_OPEN_S))
        self._executor = ThreadPoolExecutor(max_reads, thread_name_prefix="vecferry-async-read")

    @property
    def route(self) -> Split | None:
        """As of :class:`Reader`."""
        return self._reader.route

    @property
    def known_route(self) -> Split | None:
        """As of :class:`Reader`."""
        return self._reader.known_route

    @property
    def stats(self) -> ReaderStats:
        """As of :class:`Reader`."""
        return self._reader.stats

    async def search(
        self,
        vector: ArrayLike,
        k: int = 10,
        *,
        filter: Mapping[str, object] | None = None,
        after: After | None = None,
        session: Session | None = None,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> list[Hit]:
        """As :meth:`Reader.search`."""
        call = partial(self._reader.search, vector, k, filter=filter, after=after, session=session, key=key)
        return await self._in_thread(lambda left_s: call(timeout=left_s), timeout)

    async def get(
        self,
        ids: Sequence[Id],
        *,
        after: After | None = None,
        session: Session | None = None,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> list[Row]:
        """As :meth:`Reader.get`."""
        call = partial(self._reader.get, ids, after=after, session=session, key=key)
        return await self._in_thread(lambda left_s: call(timeout=left_s), timeout)

    async def close(self) -> None:
        """End this reader; idempotent."""
        if self._home.left:
            return
        self._reader.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        self._home.check()
        with suppress(TimeoutError):  # the reads will say what is not there
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._opening)), _OPEN_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _in_thread(self, call: Callable[[float], T], timeout: float) -> T:
        self._home.check()
        seconds = time_out_s(timeout)
        deadline = deadline_in(seconds - min(_MARGIN_S, seconds / 10), self._clock)

        def work() -> T:
            left_s = deadline.left_s()
            if not left_s:
                raise Inconclusive(
                    f"no thread was free to read within {seconds:g} s; give async_reader a larger max_reads"
                )
            return call(left_s)

        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as error:
            raise Unavailable("this reader is closed; make another one") from error
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError as error:
            raise Inconclusive(f"no answer within {seconds:g} s") from error
