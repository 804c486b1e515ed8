"""Comparing what two stores hold, row by row, while writes go on; by another path than the one that copied.

Source: the barrier is that of Vitess VDiff (compare at an agreed position of the log), applied to the ids that differ
instead of to a snapshot of a whole table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..clock import Clock
from ..config import Config
from ..errors import Refused
from ..kafka.admin import Admin
from ..schemas.batch import Rows
from ..schemas.collection import Collection
from ..schemas.control import VerifyRecord
from ..schemas.partitioner import partitions_of
from ..schemas.position import encode_position
from ..schemas.topics import events_topic
from ..stores.base import Store
from .compare import DEFAULT_TOLERANCE, Difference, Fault, judge, sampled, states_of, suspects
from .progress import OnProgress, Progress, RateMeter, share_done

MAX_EXAMPLES = 20
ROUNDS = 6
BARRIER_TIMEOUT_S = 60.0

_PAGE_BYTES = 8 * 1024 * 1024
_MIN_PAGE_ROWS = 256
_MAX_PAGE_ROWS = 5_000
_MAX_PENDING = 5_000  # ids that wait for a barrier; bounds the memory of a comparison with an empty target
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verification found.

    ``checked`` counts ids of the source that were compared, and ids that only the target has. ``complete`` is False for
    a sample. ``examples`` holds up to 20 differences; ``tolerance`` is absolute, per vector component.
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

    def to_record(self, source: str, target: str, finished_unix_s: float) -> VerifyRecord:
        """For the control topic."""
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
        )


def verify(
    config: Config,
    collection: str,
    source: Store,
    target: Store,
    admin: Admin,
    *,
    sample: float | None = None,
    seed: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    on_progress: OnProgress,
    clock: Clock,
) -> VerifyReport:
    """Compare all rows of both stores, or a random share ``sample`` of the ids (0 < sample <= 1), and report.

    Blocks. Both stores must be opened for this call alone, and their workers must be running: ids that differ are read
    again once both stores have applied what the live topic held by then. ``seed`` picks the sample (by default another
    one each time). Raises Refused, Unavailable, and what the stores raise.
    """
    resolved = config.collection(collection)
    topic = events_topic(config.namespace, collection)
    verifier = Verifier(
        source=source,
        target=target,
        collection=resolved,
        live_ends=lambda: admin.end_offsets(topic, resolved.partitions),
        sample=sample,
        seed=int(clock.unix_s()) % 2**31 if seed is None else seed,
        tolerance=tolerance,
        on_progress=on_progress,
        clock=clock,
    )
    return verifier.run()


class Verifier:
    """One verification. ``live_ends`` returns the end offset of every partition of the live topic."""

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
        clock: Clock,
        barrier_timeout_s: float = BARRIER_TIMEOUT_S,
    ) -> None:
        if sample is not None and not 0 < sample <= 1:
            raise Refused(f"a sample of {sample:g} is not a share; give a number above 0 and up to 1")
        self._source = source
        self._target = target
        self._collection = collection
        self._live_ends = live_ends
        self._sample = sample
        self._seed = seed
        self._tolerance = tolerance
        self._on_progress = on_progress
        self._clock = clock
        self._barrier_timeout_s = barrier_timeout_s
        self._patience_s = barrier_timeout_s
        self._page_rows = min(_MAX_PAGE_ROWS, max(_MIN_PAGE_ROWS, _PAGE_BYTES // (4 * collection.space.dimension)))
        self._checked = 0
        self._counts = dict.fromkeys(Fault, 0)
        self._examples: list[Difference] = []

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
            examples=tuple(self._examples),
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
        after = None
        while len(page := store.export(after, self._page_rows)):
            yield page
            after = page.ids[-1]

    def _of_sample(self, rows: Rows) -> Rows:
        if self._sample is None:
            return rows
        chosen = sampled(rows.ids, self._sample, self._seed)
        return Rows(
            ids=list(itertools.compress(rows.ids, chosen)),
            positions=rows.positions[chosen],
            deleted=rows.deleted[chosen],
            vectors=rows.vectors[chosen],
            metadata=list(itertools.compress(rows.metadata, chosen)),
        )

    def _compare_source_page(self, rows: Rows) -> list[str]:
        self._checked += len(rows)
        return suspects(rows, self._target.fetch(rows.ids), self._tolerance)

    def _compare_target_page(self, rows: Rows) -> list[str]:
        """Rows that the source has too were compared by the first walk; left are those that it does not have."""
        known = self._source.fetch(rows.ids)
        live = set(itertools.compress(known.ids, ~known.deleted))
        only_here = [id_ for id_ in rows.ids if id_ not in live]
        self._checked += len(only_here)
        return only_here

    def _settle(self, ids: list[str]) -> None:
        """Read ``ids`` again behind a barrier until each is equal, judged, or out of rounds."""
        for round_ in range(1, ROUNDS + 1):
            if not ids:
                return
            ends = self._live_ends()
            lag = self._wait_for_both(ends)
            if lag:
                for id_ in ids:
                    self._note(
                        Difference(
                            id=id_, fault=Fault.UNDECIDED, source_position=None, target_position=None, reason=lag
                        )
                    )
                return
            ids = self._judge(ids, ends, last=round_ == ROUNDS)

    def _judge(self, ids: list[str], ends: Sequence[int], *, last: bool) -> list[str]:
        """Note what is wrong with ``ids``; returns those that are still being written, none in the ``last`` round."""
        again = []
        for at in range(0, len(ids), self._page_rows):
            page = ids[at : at + self._page_rows]
            ours, theirs = states_of(self._source.fetch(page)), states_of(self._target.fetch(page))
            partitions = partitions_of(page, self._collection.partitions)
            for id_, partition in zip(page, partitions.tolist(), strict=True):
                barrier = encode_position(self._collection.epoch, ends[partition])
                found = judge(id_, ours.get(id_), theirs.get(id_), barrier, self._tolerance)
                if found is not None and found.fault is Fault.UNDECIDED and not last:
                    again.append(id_)
                elif found is not None:
                    self._note(found)
        return again

    def _wait_for_both(self, ends: Sequence[int]) -> str:
        """Block until both stores have applied up to ``ends``; returns "" or, after the time-out, who has not."""
        deadline_s = self._clock.monotonic_s() + self._patience_s
        self._on_progress(Progress(phase="waiting for both stores to reach the same place", rows=self._checked))
        for name, store in (("source", self._source), ("target", self._target)):
            while behind := self._behind(store, ends):
                if self._clock.monotonic_s() >= deadline_s:
                    self._patience_s = 0.0  # the next ids need not wait as long again to learn the same
                    return f"the {name} did not apply {behind} events within {self._barrier_timeout_s:g} s"
                self._clock.sleep_s(_POLL_S)
        return ""

    def _behind(self, store: Store, ends: Sequence[int]) -> int:
        live = store.applied().live
        return sum(max(0, end - live.get(partition, 0)) for partition, end in enumerate(ends))

    def _note(self, difference: Difference) -> None:
        self._counts[difference.fault] += 1
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(difference)
