"""Moving one reader's reads from route to route, so that no read shows less than an earlier one.

The reader *serves* by one split and *knows* of the newest one. To get from the served to the newest split, a move runs
in the background:

1. Open the stores that gain reads, and wait until they have applied everything that is in the live topic. Nobody is
   held meanwhile, and no read pays for the opening.
2. Hold: reads whose store changes do not begin, and those under way do not return. Whatever they returned so far lies
   below the live topic's end offsets, which are taken now.
3. When the gaining stores have applied that much, the split is served. Held reads begin on their new store; reads that
   were under way on the old one are thrown away and begin again. Reads whose store stays are never held.

A move that does not get there in time is put off: the held reads go on where they were, and it is tried again later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from ..clock import Clock
from ..errors import Refused, Unavailable, VecferryError
from ..executor import Daemon, Executor
from ..journal.reading import parse
from ..journal.record import Known, Unknown
from ..journal.route import Route, route_key
from .deadline import Deadline, deadline_in
from .marks import Table
from .route import Split, gaining_stores, split_of, without_canary
from .stats import Counters
from .watermarks import Watermarks

_log = logging.getLogger("vecferry.reads")

BARRIER_S = 2.0
_CONNECT_S = 30.0
_RETRY_S = 0.1  # between two attempts of a move
_LOOK_S = 0.05  # how often a waiting read looks for a newer route
_PATIENCE = 0.5  # the share of its time that a read is held
_ASIDE_S = 1.0  # how long reads stay away from a failing canary; doubled with each failure
_MAX_ASIDE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to read ``store`` for the keys of ``bucket``. ``spare``: should that store fail, another one may answer."""

    bucket: int
    store: str
    split: Split
    spare: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Move:
    split: Split
    gaining: frozenset[str]


class Router:
    """Decides which store a read goes to; one per reader, thread-safe.

    ``prepare`` begins to open the stores of a route that has arrived. ``moves`` runs the moves, ``wait`` is how a held
    read waits for a change: a simulation gives its own.
    """

    def __init__(
        self,
        *,
        collection: str,
        control: Callable[[float], Table],
        without_record: Callable[[], Split],
        progress: Watermarks,
        connect: Callable[[str, Deadline], None],
        prepare: Callable[[Iterable[str]], None] = lambda stores: None,
        counters: Counters,
        clock: Clock,
        barrier_s: float = BARRIER_S,
        moves: Executor | None = None,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        self._key = route_key(collection)
        self._control = control
        self._without_record = without_record
        self._progress = progress
        self._connect = connect
        self._prepare = prepare
        self._counters = counters
        self._clock = clock
        self._barrier_s = barrier_s
        self._moves = moves or Daemon("vecferry-move")
        self._wait = wait
        self._changed = threading.Condition()
        self._raw: bytes | None = None
        self._known: Split | None = None
        self._served: Split | None = None
        self._moving: _Move | None = None
        self._held_for: _Move | None = None
        self._next_move_s = float("-inf")
        self._aside_until_s = float("-inf")
        self._aside_s = _ASIDE_S
        self._closed = False
        self._said = (0, 0)

    @property
    def served(self) -> Split | None:
        """The split that reads go by; None before the first read. Does not block."""
        with self._changed:
            return self._served

    @property
    def known(self) -> Split | None:
        """The newest split that the control topic holds, as of the last read. Does not block."""
        with self._changed:
            return self._known

    def enter(self, bucket: int, deadline: Deadline, avoid: str | None = None) -> Permit | None:
        """Leave to read; held while a move takes this bucket to another store.

        None when no store but ``avoid`` may answer in time. Raises Unavailable when no route could ever be read.
        """
        table = self._control(deadline.left_s())
        patience = deadline.share(_PATIENCE)
        with self._changed:
            while True:
                served = self._look(table)
                store = served.store_of(bucket)
                patient = patience.left_s() > 0
                if store == avoid:
                    if not patient:
                        return None
                elif not self._is_held(bucket, served):
                    return self._permit(bucket, store, served)
                elif not patient:
                    self._let_go()
                    return self._permit(bucket, store, served)
                self._wait(self._changed, min(_LOOK_S, patience.left_s()))

    def leave(self, permit: Permit, deadline: Deadline) -> bool:
        """Whether what was read under ``permit`` may be returned; False: throw it away and read again."""
        patience = deadline.share(_PATIENCE)
        with self._changed:
            while True:
                served = self._served
                if served is None or served.store_of(permit.bucket) != permit.store:
                    return False
                if not self._is_held(permit.bucket, served):
                    return True
                if not patience.left_s():
                    self._let_go()
                    return True
                self._wait(self._changed, min(_LOOK_S, patience.left_s()))

    def failed(self, permit: Permit) -> bool:
        """The store of ``permit`` failed. Whether another one may answer: then enter again and avoid this one.

        A failing canary makes this reader step aside: for a while it reads as if all of the route were at its home.
        """
        with self._changed:
            served = self._served
            if served is None:
                return False
            if self._store_after(served, permit.bucket) != permit.store:
                return True
            if not (served.canary and permit.store != served.home):
                return False
            now_s = self._clock.monotonic_s()
            self._aside_until_s = now_s + self._aside_s
            self._aside_s = min(_MAX_ASIDE_S, 2 * self._aside_s)
            self._next_move_s = now_s
            _log.warning("reads step aside from store %s: generation %d", permit.store, served.generation)
            return True

    def close(self) -> None:
        """End the move under way, if any; reads raise Unavailable from now on. Does not block."""
        with self._changed:
            self._closed = True
            self._let_go()

    def _permit(self, bucket: int, store: str, served: Split) -> Permit:
        canary = served.canary and store != served.home
        return Permit(
            bucket=bucket,
            store=store,
            split=served,
            spare=canary or self._store_after(served, bucket) != store,
        )

    def _look(self, table: Table) -> Split:
        """Take in the newest route and begin a move to it if it differs from the served one, which is returned."""
        if self._closed:
            raise Unavailable("this reader is closed; make another one")
        target = self._learn(table.get(self._key))
        if self._served is None:
            self._served = target
        if self._held_for is not None and self._held_for.split != target:
            self._let_go()
        if target != self._served and self._moving is None:
            gaining = gaining_stores(self._served, target)
            if not gaining:
                self._served = target
            elif self._clock.monotonic_s() >= self._next_move_s:
                self._moving = _Move(split=target, gaining=gaining)
                move = self._moving
                self._moves.submit(lambda: self._run(move))
        return self._served

    def _learn(self, raw: bytes | None) -> Split:
        """Take in the route record, if it is a newer one; returns the target."""
        route = None
        if raw is not None and raw != self._raw:
            route = self._route_in(raw)
            self._raw = raw
        if self._known is None:
            self._known = route or self._without_record()
            self._prepare(self._known.stores)
        elif route is not None and route.generation > self._known.generation:
            self._known = route
            self._prepare(route.stores)
            self._aside_until_s = float("-inf")
            self._aside_s = _ASIDE_S
            self._next_move_s = float("-inf")
        return self._aim(self._known)

    def _route_in(self, raw: bytes) -> Split | None:
        """The route in a record; None where the last one has to stay.

        Raises Unavailable where there is no last one and only a later version knows which store is the right one.
        """
        try:
            found = parse(self._key, raw, Route)
        except Refused as error:
            _log.warning("the last route stays: %s", error)
            return None
        match found:
            case Known(record=route):
                return split_of(route)
            case Unknown():
                if self._known is None:
                    raise Unavailable(str(found.refusal()))
                return None
            case _:
                assert_never(found)

    def _aim(self, known: Split) -> Split:
        """What to serve, given the newest route: the same, unless this reader has stepped aside from its canary."""
        aside = known.canary and self._clock.monotonic_s() < self._aside_until_s
        return without_canary(known) if aside else known

    def _store_after(self, served: Split, bucket: int) -> str:
        """The store that ``bucket`` reads once the present target is served."""
        return served.store_of(bucket) if self._known is None else self._aim(self._known).store_of(bucket)

    def _is_held(self, bucket: int, served: Split) -> bool:
        move = self._held_for
        return move is not None and move.split.store_of(bucket) != served.store_of(bucket)

    def _let_go(self) -> None:
        """End the hold without moving: a read that returns from now on may show more than the noted end offsets."""
        self._held_for = None
        self._changed.notify_all()

    def _run(self, move: _Move) -> None:
        arrived = False
        try:
            for store in sorted(move.gaining):
                self._connect(store, deadline_in(_CONNECT_S, self._clock))
            lag = self._progress.catch_up(move.gaining, self._in_time(), lambda: self._is_outdated(move))
            if lag is None and self._hold(move):
                lag = self._progress.catch_up(move.gaining, self._in_time(), lambda: self._held_for is not move)
                arrived = lag is None
            if not arrived:
                self._say(logging.INFO, move, str(lag or "let go"))
        except VecferryError as error:
            self._say(logging.WARNING, move, str(error))
        finally:
            self._end(move, arrived)

    def _say(self, level: int, move: _Move, why: str) -> None:
        """Once for each kind of reason: a move is tried many times a second while a store or Kafka is away."""
        if self._said != (move.split.generation, level):
            self._said = (move.split.generation, level)
            _log.log(level, "reads stay off generation %d: %s", move.split.generation, why)

    def _in_time(self) -> Deadline:
        return deadline_in(self._barrier_s, self._clock)

    def _is_outdated(self, move: _Move) -> bool:
        with self._changed:
            return self._closed or self._known is None or self._aim(self._known) != move.split

    def _hold(self, move: _Move) -> bool:
        with self._changed:
            if self._is_outdated(move):
                return False
            self._held_for = move
            return True

    def _end(self, move: _Move, arrived: bool) -> None:
        with self._changed:
            if arrived and self._held_for is move:
                self._said = (0, 0)
                self._served = move.split
                self._counters.add("moves")
            else:
                self._counters.add("refused_moves")
            if self._held_for is move:
                self._held_for = None
            self._moving = None
            self._next_move_s = max(self._next_move_s, self._clock.monotonic_s() + _RETRY_S)
            self._changed.notify_all()
