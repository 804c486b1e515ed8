"""How far each store has applied the live topic, and waiting for it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..clock import Clock
from ..errors import Inconclusive, StoreError, Unavailable
from ..schemas.collection import Collection
from ..stores.base import Store
from .deadline import Deadline
from .marks import Marks, Table
from .pool import StorePool

_ASK_STORE_S = 0.2  # how long the progress topic may be silent before the store itself is asked
_CONFIRM_S = 0.05  # from one question to a store whose reports are ahead of it to the next
_ENDS_TIMEOUT_S = 2.0
_ENDS_PAUSE_S = 0.5  # after Kafka did not answer, nobody waits for it again within this time

# Instants of this process, as plain numbers: of two of them, the later one is the greater one.
_instants = itertools.count(1)


def next_instant() -> int:
    """A number greater than every number that this function returned before. Thread-safe."""
    return next(_instants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Why a store is not there yet: ``applied`` is None when nothing is known about the partition."""

    store: str
    partition: int
    applied: int | None
    wanted: int

    def __str__(self) -> str:
        if self.applied is None:
            return (
                f"no worker of store {self.store!r} has reported progress on partition {self.partition} yet, "
                f"nor does the store say it; start `vecferry worker --store {self.store}`"
            )
        return (
            f"store {self.store!r} has applied partition {self.partition} up to offset {self.applied}, "
            f"{self.wanted - self.applied} records short of what this read must see"
        )


class Watermarks:
    """Watermarks of one collection in every store; shared by all readers of the collection, thread-safe."""

    def __init__(
        self,
        *,
        collection: Collection,
        table: Callable[[], Table],
        end_offsets: Callable[[float], tuple[int, ...]],
        pool: StorePool,
        clock: Clock,
    ) -> None:
        self._table = table
        self._marks = Marks(collection=collection, table=table, clock=clock)
        self._end_offsets = end_offsets
        self._pool = pool
        self._clock = clock
        self._lock = threading.Lock()
        self._caught_up: dict[str, int] = {}
        self._silent_until_s = 0.0
        self._silence: Unavailable | None = None

    def ends(self, deadline: Deadline) -> dict[int, int]:
        """How far readers of the live topic come: what any store can have applied by now lies below.

        Raises Unavailable.
        """
        silence = self._silence
        if silence is not None and self._clock.monotonic_s() < self._silent_until_s:
            raise Unavailable(str(silence))
        try:
            found = self._end_offsets(max(0.05, min(_ENDS_TIMEOUT_S, deadline.left_s())))
        except Unavailable as error:
            self._silence = error
            self._silent_until_s = self._clock.monotonic_s() + _ENDS_PAUSE_S
            raise
        self._silence = None
        return dict(enumerate(found))

    def caught_up_since(self, store: str, instant: int) -> bool:
        """Whether ``store`` is known to have applied everything that was in the live topic at ``instant``."""
        with self._lock:
            return self._caught_up.get(store, 0) > instant

    def catch_up(
        self, stores: Iterable[str], deadline: Deadline, given_up: Callable[[], bool] = lambda: False
    ) -> Lag | None:
        """Block until ``stores`` have applied all that is in the live topic now; a Lag when they have not in time.

        What counts is what each store says of itself: it may have lost what its worker reported once. Raises
        Unavailable when Kafka does not say what is in the topic.
        """
        instant = next_instant()
        ends = self.ends(deadline)
        for store in stores:
            lag = self.wait(store, ends, deadline, given_up) or self._confirm(store, ends, deadline, given_up)
            if lag is not None:
                return lag
            with self._lock:
                self._caught_up[store] = max(instant, self._caught_up.get(store, 0))
        return None

    def lag(self, store: str, wanted: Mapping[int, int]) -> Lag | None:
        """The first partition in which ``store`` has not reported the next offset ``wanted``. Does not block."""
        return self._lag(store, wanted, {})

    def wait(
        self,
        store: str,
        wanted: Mapping[int, int],
        deadline: Deadline,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Lag | None:
        """Block until ``store`` has applied every partition up to the next offset ``wanted``; a Lag if not in time.

        Listens to the progress topic. When that stays silent (Kafka is away, or the worker publishes rarely), the store
        itself is asked now and then: its marks are where progress comes from.
        """
        table = self._table()
        told: dict[int, int] = {}

        def arrived() -> bool:
            return self._lag(store, wanted, told) is None

        while not arrived():
            left_s = deadline.left_s()
            if not left_s or given_up():
                return self._lag(store, wanted, told)
            if not self._listen(table, arrived, min(left_s, _ASK_STORE_S)):
                told = self._ask(store, deadline) or told
        return None

    def admit(self, store: str, handle: Store) -> None:
        """As ``Marks.judge``: called with every handle of ``store`` before it is used."""
        self._marks.judge(store, handle)

    def _confirm(
        self, store: str, wanted: Mapping[int, int], deadline: Deadline, given_up: Callable[[], bool]
    ) -> Lag | None:
        """Block until ``store`` itself says that it has applied ``wanted``."""
        if not any(wanted.values()):
            return None
        while True:
            lag = _behind(store, wanted, self._ask(store, deadline).get)
            left_s = deadline.left_s()
            if lag is None or not left_s or given_up():
                return lag
            self._clock.sleep_s(min(left_s, _CONFIRM_S))

    def _listen(self, table: Table, arrived: Callable[[], bool], pause_s: float) -> bool:
        until_s = self._clock.monotonic_s() + pause_s
        try:
            if table.wait_for(arrived, pause_s):
                return True
        except Unavailable:
            pass  # the view has ended for good; the store still knows
        # A view that has ended or was closed answers at once, and the store must not be asked without pause.
        self._clock.sleep_s(max(0.0, until_s - self._clock.monotonic_s()))
        return False

    def _lag(self, store: str, wanted: Mapping[int, int], told: Mapping[int, int]) -> Lag | None:
        def applied(partition: int) -> int | None:
            said = told.get(partition)
            if said is not None and said >= wanted[partition]:
                return said
            reported = self._marks.reported(store, partition)
            return reported if said is None else max(said, reported or 0)

        return _behind(store, wanted, applied)

    def _ask(self, store: str, deadline: Deadline) -> dict[int, int]:
        try:
            live = self._pool.call(store, lambda handle: handle.applied(), deadline).live
        except (StoreError, Unavailable, Inconclusive):
            return {}  # then only the progress topic can tell
        self._marks.learn(store, live)
        return live


def _behind(store: str, wanted: Mapping[int, int], applied: Callable[[int], int | None]) -> Lag | None:
    for partition, next_offset in wanted.items():
        if next_offset == 0:
            continue  # nothing was ever published there
        found = applied(partition)
        if found is None or found < next_offset:
            return Lag(store=store, partition=partition, applied=found, wanted=next_offset)
    return None
