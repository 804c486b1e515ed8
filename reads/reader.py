"""Reading a collection from whichever store the route names."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from numpy.typing import ArrayLike

from ..clock import Clock
from ..errors import Inconclusive, Refused, StoreError, Unavailable, VecferryError
from ..forks import Home
from ..schemas.batch import Hit
from ..schemas.collection import Collection
from ..schemas.filters import parse_filter
from ..schemas.ids import Id
from ..stores.base import Store
from .arguments import After, Demand, asked_ids, demand, query_vector, reads_as, result_count, time_out_s
from .conditions import check_fields, check_operators
from .deadline import Deadline, deadline_in
from .letters import DeadLetters
from .marks import WentBack
from .pool import StorePool
from .results import Row, rows_in_order
from .route import Split, bucket_of
from .router import BARRIER_S, Permit, Router
from .session import Session
from .stats import Counters, ReaderStats
from .watermarks import Lag, Watermarks

T = TypeVar("T")

_log = logging.getLogger("vecferry.reads")

DEFAULT_TIMEOUT_S = 5.0
_SHORTEST_S = 0.001  # stores may take a time-out of zero as none at all
_FIRST_TRY = 0.5  # the share of its time that a read spends on a store when another one could still answer


class _Behind(Inconclusive):
    """The store has not applied in time what the answer must show. Leaves a read as Inconclusive."""


class Reader:
    """Reads one collection; thread-safe, made by ``pipeline.reader(name)``.

    All reads under one key (``key``, else the session's, else one of this reader's own) see a store that never goes
    back, also while the route changes. Every call blocks at most ``timeout`` seconds and raises

    InvalidRecord  an argument is wrong
    Inconclusive   no store could answer in time, or none had applied what ``after`` or ``session`` asks for
    Refused        the configuration is not what was enrolled; or ``after`` asks of a live topic that was made anew
    Unavailable    the store cannot be reached, or Kafka never could be since the pipeline was opened
    DeadLettered   the store can never hold a write that ``after`` or ``session`` asks for
    StoreError     the store failed otherwise
    """

    def __init__(
        self,
        *,
        collection: Collection,
        topic: str,
        router: Router,
        progress: Watermarks,
        letters: DeadLetters,
        pool: StorePool,
        counters: Counters,
        clock: Clock,
        fields: Callable[[str], tuple[str, ...] | None] = lambda store: None,
        distrust: Callable[[], Refused | None] = lambda: None,
    ) -> None:
        """``distrust``: why positions of the live topic mean nothing any more, if that is so."""
        self._distrust = distrust
        self._collection = collection
        self._topic = topic
        self._router = router
        self._progress = progress
        self._letters = letters
        self._pool = pool
        self._fields = fields
        self._counters = counters
        self._clock = clock
        self._bucket = bucket_of(secrets.token_urlsafe(9))
        self._home = Home(f"this reader of collection {collection.name!r}", self)

    @property
    def route(self) -> Split | None:
        """The route that reads go by now; None before the first read."""
        self._home.check()
        return self._router.served

    @property
    def known_route(self) -> Split | None:
        """The newest route that this reader knows of; it differs from ``route`` while a move waits for a store."""
        self._home.check()
        return self._router.known

    @property
    def stats(self) -> ReaderStats:
        """What this reader has counted so far."""
        self._home.check()
        return self._counters.snapshot()

    def open(self, timeout_s: float) -> None:
        """Learn the route and open every store that answers reads by it, so that no read needs to.

        The stores to which a move may take the reads are opened in the background. Blocks at most ``timeout_s``. Raises
        Refused where the configuration is not what was enrolled, and nothing for what is not there by then: it is
        logged, and the reads will say it.
        """
        self._home.check()
        deadline = deadline_in(time_out_s(timeout_s), self._clock)
        try:
            permit = self._router.enter(self._bucket, deadline)
            for store, share in permit.split.weights if permit is not None else ():
                if share:
                    self._open(store, deadline)
            self._progress.ends(deadline)  # a client that has never asked for them takes a moment longer
        except Refused:
            raise
        except VecferryError as error:
            _log.warning("reads of %s are not ready yet: %s", self._collection.name, error)

    def search(
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
        """The ``k`` best rows for ``vector`` (floats [d]) that match ``filter``, best first.

        ``after``: a write token or a session, or a list of them, that the answer must reflect. ``session`` is reflected
        and then updated with this read. ``key`` decides which store answers while both do.
        """
        array = query_vector(vector, self._collection.space)
        count, conditions = result_count(k), parse_filter(filter)

        def ask(name: str, store: Store, left_s: float) -> list[Hit]:
            check_operators(conditions, store.capabilities.filters)
            check_fields(conditions, self._fields(name), name)
            return store.search(array, count, conditions, left_s)

        return self._read(ask, after, session, key, timeout)

    def get(
        self,
        ids: Sequence[Id],
        *,
        after: After | None = None,
        session: Session | None = None,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> list[Row]:
        """The rows of ``ids`` in that order; absent ids are left out. The other arguments are those of ``search``."""
        wanted = asked_ids(ids, self._collection.id_type)
        each = list(dict.fromkeys(wanted))
        found = self._read(lambda name, store, left_s: store.fetch(each), after, session, key, timeout)
        return rows_in_order(wanted, found)

    def close(self) -> None:
        """End this reader; reads that have not begun raise Unavailable. Does not block; idempotent."""
        if not self._home.left:
            self._router.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(
        self,
        ask: Callable[[str, Store, float], T],
        after: After | None,
        session: Session | None,
        key: str | None,
        timeout: float,
    ) -> T:
        self._home.check()
        deadline = deadline_in(time_out_s(timeout), self._clock)
        own = reads_as(key, session)
        asked = demand(after, session, self._collection, self._topic)
        if asked.wanted and (problem := self._distrust()) is not None:
            raise Refused(problem.problems)  # the write may be in no store, and its position in every one
        bucket = self._bucket if own is None else bucket_of(own)
        try:
            return self._answer(ask, asked, bucket, deadline)
        except (_Behind, WentBack) as private:
            raise Inconclusive(str(private)) from private.__cause__

    def _answer(self, ask: Callable[[str, Store, float], T], asked: Demand, bucket: int, deadline: Deadline) -> T:
        failure: VecferryError | None = None
        avoid: str | None = None
        while True:
            permit = self._router.enter(bucket, deadline, avoid)
            if permit is None or not deadline.left_s():
                raise failure or Inconclusive("no answer in time: the route changed under this read")
            store = permit.store
            try:
                within = deadline.share(_FIRST_TRY) if permit.spare else deadline
                store = self._seen_by(asked, permit, within)
                self._await_writes(asked, store, within)
                self._refuse_lost_writes(asked, store, within)
                answer = self._ask(store, ask, within)
            except (StoreError, Unavailable, Inconclusive) as error:
                if store == permit.store and self._may_turn(permit, asked, error, deadline):
                    failure, avoid = error, permit.store
                    self._counters.add("fallbacks")
                    continue
                if isinstance(error, WentBack):
                    failure = error  # its worker may have brought it there again by the next look
                    continue
                if isinstance(failure, WentBack):
                    raise failure from error
                raise
            # A session that stays on another store than the route's is kept from going back by its own memory alone.
            if store == permit.store and not self._router.leave(permit, deadline):
                self._counters.add("rereads")
                continue
            if asked.session is not None:
                asked.session.saw(self._topic, store, asked.written)
            self._counters.read_from(store)
            return answer

    def _open(self, store: str, deadline: Deadline) -> None:
        try:
            self._pool.open(store, deadline)
        except VecferryError as error:
            _log.warning("%s reads from store %s, which is not open: %s", self._collection.name, store, error)

    def _ask(self, store: str, ask: Callable[[str, Store, float], T], within: Deadline) -> T:
        return self._pool.call(store, lambda handle: ask(store, handle, max(_SHORTEST_S, within.left_s())), within)

    def _seen_by(self, asked: Demand, permit: Permit, within: Deadline) -> str:
        """The store to read so that no session goes back: the route's, or the one that the sessions come from."""
        for session in asked.sessions:
            elsewhere = {name: at for name, at in session.stores(self._topic).items() if name != permit.store}
            if not elsewhere:
                continue
            last = max(elsewhere.values())
            if not self._progress.caught_up_since(permit.store, last):
                problem = self._catch_up(permit.store, within.share(_FIRST_TRY).at_most(BARRIER_S))
                if problem is not None:
                    return self._stay(asked, permit, problem)
            session.covered(self._topic, permit.store, last)
        return permit.store

    def _catch_up(self, store: str, within: Deadline) -> Lag | Unavailable | None:
        self._counters.add("waits")
        try:
            return self._progress.catch_up([store], within)
        except Unavailable as error:
            return error

    def _stay(self, asked: Demand, permit: Permit, problem: Lag | Unavailable) -> str:
        stores = {name for session in asked.sessions for name in session.stores(self._topic)}
        if len(stores) == 1 and stores <= permit.split.stores:
            self._counters.add("refused_moves")
            return stores.pop()
        raise _Behind(f"this session has seen more than store {permit.store!r} is known to have applied: {problem}")

    def _await_writes(self, asked: Demand, store: str, within: Deadline) -> None:
        if not asked.wanted or self._progress.lag(store, asked.wanted) is None:
            return
        self._counters.add("waits")
        lag = self._progress.wait(store, asked.wanted, within)
        if lag is not None:
            raise _Behind(f"not seen in time: {lag}")

    def _refuse_lost_writes(self, asked: Demand, store: str, within: Deadline) -> None:
        try:
            self._letters.refuse(store, asked.writes, within)
        except Unavailable as error:
            raise _Behind(f"whether the store has taken what this read must see is not known: {error}") from error

    def _may_turn(self, permit: Permit, asked: Demand, error: Exception, deadline: Deadline) -> bool:
        """Whether to try another store after ``error``."""
        if isinstance(error, _Behind):
            # A token beyond the end of the log is no fault of the store, and must not move the reads of others.
            try:
                ends = self._progress.ends(deadline)
            except Unavailable:
                return False
            for partition, wanted in asked.wanted.items():
                if ends.get(partition, 0) < wanted:
                    raise _Behind(f"{error}; {_held_back(partition, ends.get(partition, 0))}") from error
        return self._router.failed(permit)


def _held_back(partition: int, end: int) -> str:
    return (
        f"no store can have applied it: Kafka gives readers partition {partition} up to offset {end} only, because a "
        "transaction of another application is open there, or because the topic was made anew"
    )
