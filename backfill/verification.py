"""Comparing what two stores hold, row by row, while writes go on; by another path than the one that copied.

Source: the barrier is that of Vitess VDiff (compare at an agreed position of the log), applied to the ids that differ
instead of to a snapshot of a whole table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..clock import Clock
from ..compare.content import repeated, suspects
from ..compare.verdict import Difference, Fault
from ..config import Config
from ..errors import Refused
from ..journal.migration import VerifyRecord
from ..log.port import Admin, held_back
from ..schemas.batch import Rows
from ..schemas.collection import MAX_RECORD_BYTES, Collection
from ..schemas.partitioner import murmur2
from ..schemas.spelling import Spelling
from ..schemas.topics import events_topic
from ..stores.base import Store
from .log_end import LogEnd
from .progress import OnProgress, Progress, RateMeter, share_done
from .screening import block_bytes
from .settling import BARRIER_TIMEOUT_S, Settler

MAX_EXAMPLES = 20  # of each kind

_PAGE_BYTES = 8 * 1024 * 1024
_MIN_PAGE_ROWS = 256
_MAX_PAGE_ROWS = 5_000
_MAX_PENDING = 5_000  # ids that wait for a barrier; bounds the memory of a comparison with an empty target

OnDifference = Callable[[Difference], None]


def _ignore(difference: Difference) -> None:
    del difference


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verification found.

    ``checked`` counts ids of the source that were compared, and ids that only the target has. ``complete`` is False for
    a sample. ``examples`` holds up to 20 differences of each kind, kind by kind; ``tolerance`` is a share of a vector's
    largest component. ``skipped`` rows are those that the copy left behind on purpose.
    """

    checked: int
    missing: int
    extra: int
    stale: int
    corrupt: int
    undecided: int
    complete: bool
    sample: float | None
    seed: int
    tolerance: float
    seconds: float
    examples: tuple[Difference, ...]
    skipped: int = 0

    def to_record(self, source: str, target: str, finished_unix_s: float, run: str = "") -> VerifyRecord:
        """For the control topic. ``run``: the newest run that the target had applied before the comparison began."""
        return VerifyRecord(
            source=source,
            target=target,
            finished_unix_s=finished_unix_s,
            complete=self.complete,
            checked=self.checked,
            missing=self.missing,
            extra=self.extra,
            stale=self.stale,
            corrupt=self.corrupt,
            undecided=self.undecided,
            skipped=self.skipped,
            run=run,
        )


def compare_stores(
    config: Config,
    collection: str,
    source: Store,
    target: Store,
    admin: Admin,
    *,
    sample: float | None = None,
    seed: int | None = None,
    skips: bool = False,
    on_progress: OnProgress,
    on_difference: OnDifference = _ignore,
    clock: Clock,
) -> VerifyReport:
    """Compare all rows of both stores, or a random share ``sample`` of the ids (0 < sample <= 1), and report.

    Blocks. Both stores must be opened for this call alone, and their workers must be running: ids that differ are read
    again once both stores have applied what the live topic held by then, and those being written for up to 30 s more.
    ``seed`` picks the sample (by default another one each time). ``skips``: the copy was to leave behind what the log
    cannot carry. ``on_difference`` is called with everything that is found, as it is found. Vectors are equal within
    the tolerance that the less exact one of both stores declares. Raises Refused, Unavailable, and what the stores
    raise.
    """
    resolved = config.collection(collection)
    topic = events_topic(config.namespace, collection)
    verifier = Verifier(
        source=source,
        target=target,
        collection=resolved,
        live_ends=lambda: admin.end_offsets(topic, resolved.partitions),
        held_back=lambda: _held_back(admin, topic, resolved.partitions),
        sample=sample,
        seed=int(clock.unix_s()) % 2**31 if seed is None else seed,
        tolerance=max(source.capabilities.vector_tolerance, target.capabilities.vector_tolerance),
        skips=skips,
        max_bytes=block_bytes(admin, topic),
        on_progress=on_progress,
        on_difference=on_difference,
        clock=clock,
        spelling=Spelling([source.fields(), target.fields()]),
    )
    return verifier.run()


class Verifier:
    """One verification. ``live_ends`` and ``held_back``: as for a Settler."""

    def __init__(
        self,
        *,
        source: Store,
        target: Store,
        collection: Collection,
        live_ends: Callable[[], Sequence[int]],
        sample: float | None,
        seed: int,
        tolerance: float,
        on_progress: OnProgress,
        on_difference: OnDifference = _ignore,
        clock: Clock,
        spelling: Spelling | None = None,
        skips: bool = False,
        max_bytes: int = MAX_RECORD_BYTES,
        held_back: Callable[[], Mapping[int, int]] = dict,
        barrier_timeout_s: float = BARRIER_TIMEOUT_S,
    ) -> None:
        if sample is not None and not 0 < sample <= 1:
            raise Refused(f"a sample of {sample:g} is not a share; give a number above 0 and up to 1")
        self._source = source
        self._target = target
        self._sample = sample
        self._seed = seed
        self._tolerance = tolerance
        self._on_progress = on_progress
        self._on_difference = on_difference
        self._end = LogEnd(collection, live_ends)
        self._clock = clock
        self._page_rows = min(_MAX_PAGE_ROWS, max(_MIN_PAGE_ROWS, _PAGE_BYTES // (4 * collection.space.dimension)))
        self._settler = Settler(
            source=source,
            target=target,
            collection=collection,
            live_ends=live_ends,
            held_back=held_back,
            tolerance=tolerance,
            page_rows=self._page_rows,
            on_wait=lambda what_for: on_progress(Progress(phase=what_for, rows=self._checked)),
            clock=clock,
            spelling=spelling,
            skips=skips,
            max_bytes=max_bytes,
            barrier_timeout_s=barrier_timeout_s,
        )
        self._checked = 0
        self._counts = dict.fromkeys(Fault, 0)
        self._examples: dict[Fault, list[Difference]] = {fault: [] for fault in Fault}

    def run(self) -> VerifyReport:
        """Walk the source against the target, then the target against the source. Blocks."""
        began_s = self._clock.monotonic_s()
        self._walk("comparing rows", self._source, self._compare_source_page)
        self._walk("looking for extra rows", self._target, self._compare_target_page)
        self._on_progress(Progress(phase="verified", rows=self._checked, percent=100.0, eta_s=0.0))
        return VerifyReport(
            checked=self._checked,
            missing=self._counts[Fault.MISSING],
            extra=self._counts[Fault.EXTRA],
            stale=self._counts[Fault.STALE],
            corrupt=self._counts[Fault.CORRUPT],
            undecided=self._counts[Fault.UNDECIDED],
            complete=self._sample is None,
            sample=self._sample,
            seed=self._seed,
            tolerance=self._tolerance,
            seconds=self._clock.monotonic_s() - began_s,
            examples=tuple(itertools.chain.from_iterable(self._examples.values())),
            skipped=self._counts[Fault.SKIPPED],
        )

    def _walk(self, phase: str, store: Store, differing: Callable[[Rows], list[str]]) -> None:
        """Feed every page of ``store`` to ``differing`` and settle the ids that it returns."""
        meter = RateMeter(self._clock.monotonic_s())
        estimated = store.count()
        rows = 0
        pending: list[str] = []
        for page in self._pages(store):
            rows += len(page)
            pending += differing(self._of_sample(page))
            rate = meter.rows_per_s(self._clock.monotonic_s(), rows)
            percent, eta_s = share_done(rows, estimated, rate)
            self._on_progress(Progress(phase=phase, rows=rows, percent=percent, rows_per_s=rate, eta_s=eta_s))
            if len(pending) >= _MAX_PENDING:
                self._settle(pending)
                pending = []
        self._settle(pending)

    def _pages(self, store: Store) -> Iterator[Rows]:
        page = store.export(None, self._page_rows)
        while True:
            if len(page.rows):
                yield page.rows
            if page.next is None:
                return
            page = store.export(page.next, self._page_rows)

    def _of_sample(self, rows: Rows) -> Rows:
        if self._sample is None:
            return rows
        return rows.where(sampled(rows.ids, self._sample, self._seed))

    def _compare_source_page(self, rows: Rows) -> list[str]:
        ids = list(dict.fromkeys(rows.ids))
        self._checked += len(ids)
        # The next page may begin behind the last id: a second row of that one would then be in no page.
        last = self._source.fetch(ids[-1:])
        twice = repeated(list(itertools.compress(last.ids, ~last.deleted)))
        beyond = list(itertools.compress(rows.ids, self._end.beyond(rows)))
        return suspects(rows, self._target.fetch(ids), self._tolerance) + list(twice) + beyond

    def _compare_target_page(self, rows: Rows) -> list[str]:
        """Rows that the source has too were compared by the first walk; left are those that it does not have.

        And those that it remembers as deleted beside a row: of these the first walk has seen the row alone.
        """
        ids = list(dict.fromkeys(rows.ids))
        known = self._source.fetch(ids)
        live_rows = list(itertools.compress(known.ids, ~known.deleted))
        live = set(live_rows)
        only_here = [id_ for id_ in ids if id_ not in live]
        self._checked += len(only_here)
        return only_here + list(repeated(known.ids) & (live - repeated(live_rows)))

    def _settle(self, ids: Iterable[str]) -> None:
        for difference in self._settler.settle(ids):
            self._counts[difference.fault] += 1
            self._on_difference(difference)
            if len(self._examples[difference.fault]) < MAX_EXAMPLES:
                self._examples[difference.fault].append(difference)


def sampled(ids: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which of ``ids`` fall into a sample of ``share`` (0 to 1): by a hash of id and seed, the same in every store."""
    hashes = murmur2([f"{seed}:{id_}".encode() for id_ in ids])
    return hashes < share * 2**32


def _held_back(admin: Admin, topic: str, partitions: int) -> dict[int, int]:
    offsets = admin.offsets(topic, partitions)
    return held_back(offsets.stable, offsets.end)
