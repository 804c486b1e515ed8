"""What becomes of ids that two stores did not hold in equal form at first sight: read again, until each is decided.

Nothing pauses the writers meanwhile. Three ways lead to a verdict: both stores pass a barrier, the end of the live
topic as it is now, after which an id at rest is at rest in both; a store passes the position of a state that the other
one has shown, after which it is older only by fault; and both show the same position, where content decides. The last
two work for an id that is written all the time, whose states are kept for a while because both stores seldom show the
same one at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..clock import Clock
from ..compare.content import State, repeated, states_of
from ..compare.uncarried import uncarried
from ..compare.verdict import Difference, Fault, Seen, judge, remembered
from ..schemas.batch import Rows
from ..schemas.collection import MAX_RECORD_BYTES, Collection
from ..schemas.partitioner import partitions_of
from ..schemas.position import encode_position
from ..schemas.spelling import Spelling
from ..stores.base import Store
from ..wording import count, open_transactions
from .log_end import LogEnd

BARRIER_TIMEOUT_S = 60.0
WATCH_S = 30.0  # how long ids are read again behind the barrier

_IMPATIENT_S = 2.0  # patience with a store that did not reach the last barrier; the next one that it does restores it
_POLL_S = 0.05
_REMEMBERED_BYTES = 32 * 1024 * 1024
_REMEMBERED_PER_ID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """An id that is undecided, and what both stores have shown of it that is worth keeping."""

    id: str
    partition: int
    source: tuple[State, ...] = ()
    target: tuple[State, ...] = ()


class Settler:
    """Decides ids of one collection in two stores.

    ``live_ends`` returns the end offset of every live partition, ``held_back`` where open transactions hold readers
    back: partition -> first offset. ``skips``: the copy left behind on purpose what the log cannot carry, in
    messages of ``max_bytes``. ``on_wait`` is called with what is waited for, before each pause of 0.05 s.
    Metadata that ``spelling`` spells alike is equal: a dead letter is redriven in the spelling of its store, after the
    other one took it as it was published.
    """

    def __init__(
        self,
        *,
        source: Store,
        target: Store,
        collection: Collection,
        live_ends: Callable[[], Sequence[int]],
        tolerance: float,
        page_rows: int,
        on_wait: Callable[[str], None],
        clock: Clock,
        spelling: Spelling | None = None,
        skips: bool = False,
        max_bytes: int = MAX_RECORD_BYTES,
        held_back: Callable[[], Mapping[int, int]] = dict,
        barrier_timeout_s: float = BARRIER_TIMEOUT_S,
        watch_s: float = WATCH_S,
    ) -> None:
        self._source = source
        self._target = target
        self._collection = collection
        self._live_ends = live_ends
        self._end = LogEnd(collection, live_ends)
        self._skips = skips
        self._max_bytes = max_bytes
        self._held_back = held_back
        self._tolerance = tolerance
        self._page_rows = page_rows
        self._on_wait = on_wait
        self._clock = clock
        self._spelling = spelling
        self._barrier_timeout_s = barrier_timeout_s
        self._watch_s = watch_s
        self._patience_s = barrier_timeout_s
        self._remembered = max(1, _REMEMBERED_BYTES // (4 * collection.space.dimension))

    def settle(self, ids: Iterable[str]) -> Iterator[Difference]:
        """What is wrong with ``ids``, in no order; an id that nothing is said of is equal in both stores.

        Blocks, at most for both time-outs. UNDECIDED are the ids of partitions that a store did not bring to the
        barrier, unless they could be decided as they were, and those that were never seen at one position.
        """
        unique = list(dict.fromkeys(ids))
        partitions = partitions_of(unique, self._collection.partitions).tolist()
        cases = [_Case(id=id_, partition=partition) for id_, partition in zip(unique, partitions, strict=True)]
        if not cases:
            return
        lagging = self._wait_for_both(self._live_ends())
        deadline_s = self._clock.monotonic_s() + self._watch_s
        while cases:
            is_last = self._clock.monotonic_s() >= deadline_s
            cases = yield from self._look(cases, lagging, is_last=is_last)
            if cases:
                self._pause("reading again what is being written")

    def _look(
        self, cases: Sequence[_Case], lagging: Mapping[int, str], *, is_last: bool
    ) -> Generator[Difference, None, list[_Case]]:
        """Read each id once in both stores. Yields what is wrong, returns the ids to be read again.

        Those are the undecided ones of partitions that are not ``lagging``; none when this look ``is_last``.
        """
        # How far a store is, is asked before it is read: what it then shows is at least as new.
        applied = self._source.applied().live, self._target.applied().live
        keep = min(_REMEMBERED_PER_ID, max(1, self._remembered // len(cases)))
        again = []
        for at in range(0, len(cases), self._page_rows):
            page = cases[at : at + self._page_rows]
            ours = self._read(self._source, page, applied[0], [case.source for case in page])
            theirs = self._read(self._target, page, applied[1], [case.target for case in page])
            for case, source, target in zip(page, ours, theirs, strict=True):
                end = self._end.above(case.partition, [seen.now.position for seen in (source, target) if seen.now])
                found = judge(case.id, source, target, self._tolerance, end)
                if found is None:
                    continue
                if found.fault is Fault.MISSING and source.now is not None:
                    yield self._missing(found, source.now)
                elif found.fault is not Fault.UNDECIDED:
                    yield found
                elif case.partition in lagging:
                    yield replace(found, reason=lagging[case.partition])
                elif is_last:
                    yield found
                else:
                    kept = remembered(source, target.now, keep), remembered(target, source.now, keep)
                    again.append(replace(case, source=kept[0], target=kept[1]))
        return again

    def _missing(self, found: Difference, row: State) -> Difference:
        """``found``, or what it is when the log cannot carry ``row`` of the source."""
        rows = Rows(
            ids=[found.id],
            positions=np.array([row.position], np.int64),
            deleted=np.zeros(1, np.bool_),
            vectors=row.vector[None],
            metadata=[row.metadata],
        )
        obstacle = uncarried(rows, self._collection, self._max_bytes).get(0)
        if obstacle is None:
            return found
        if self._skips:
            return replace(found, fault=Fault.SKIPPED, reason=f"not copied: {obstacle.detail}")
        return replace(found, reason=f"{found.reason}, and the log cannot carry it: {obstacle.detail}")

    def _read(
        self, store: Store, cases: Sequence[_Case], live: Mapping[int, int], earlier: Sequence[tuple[State, ...]]
    ) -> list[Seen]:
        rows = store.fetch([case.id for case in cases])
        if self._spelling:
            filtered = None if rows.filtered is None else self._spelling.texts(rows.filtered)
            rows = replace(rows, metadata=self._spelling.texts(rows.metadata), filtered=filtered)
        states, twice = states_of(rows), repeated(rows.ids)
        return [
            Seen(
                now=states.get(case.id),
                applied=encode_position(self._collection.epoch, live.get(case.partition, 0)),
                earlier=before,
                twice=case.id in twice,
            )
            for case, before in zip(cases, earlier, strict=True)
        ]

    def _wait_for_both(self, ends: Sequence[int]) -> dict[int, str]:
        """Block until both stores have applied up to ``ends``; returns who has not in time, by partition."""
        deadline_s = self._clock.monotonic_s() + self._patience_s
        lagging: dict[int, str] = {}
        blocked = open_transactions(self._held_back())
        what_for = "waiting for both stores to reach the same place" + (f", {blocked}" if blocked else "")
        for name, store in (("source", self._source), ("target", self._target)):
            while behind := _behind(store, ends):
                if self._clock.monotonic_s() >= deadline_s:
                    for partition, events in behind.items():
                        lagging[partition] = (
                            f"the {name} did not apply {count(events, 'event')} within {self._patience_s:g} s"
                        )
                    break
                self._pause(what_for)
        for partition, offset in (self._held_back() if lagging else {}).items():
            if partition in lagging:
                lagging[partition] += f": {open_transactions({partition: offset})}"
        # The ids that come next need not wait as long again to learn the same of a store that has stopped.
        self._patience_s = min(_IMPATIENT_S, self._barrier_timeout_s) if lagging else self._barrier_timeout_s
        return lagging

    def _pause(self, what_for: str) -> None:
        self._on_wait(what_for)
        self._clock.sleep_s(_POLL_S)


def _behind(store: Store, ends: Sequence[int]) -> dict[int, int]:
    """How many events ``store`` has yet to apply, by partition, where there are any."""
    live = store.applied().live
    behind = {partition: end - live.get(partition, 0) for partition, end in enumerate(ends)}
    return {partition: events for partition, events in behind.items() if events > 0}
