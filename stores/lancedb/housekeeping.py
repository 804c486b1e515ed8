"""Merging small files, dropping old versions, and how much space a table may take meanwhile.

Every commit adds files, and every compaction a copy of what it merged. Old versions keep all of that. So the table is
cleaned every 50 commits, and before that when it would outgrow its bound, or fill its disk. A read that needs a version
which was dropped is done again on the latest one (``store.py``), and a merge that was suspended meets the lock row of
its partition (``marks.py``): nothing else depends on old versions.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import timedelta
from typing import Any, cast

from ...clock import Clock
from ...errors import StoreError, Transient, VecferryError
from ..base import Size
from . import read, search
from .disk import drop_superseded, folder_of, space_of
from .errors import DiskFull, translated
from .table import Connection
from .turns import Turns

log = logging.getLogger(__name__)

COMMITS_PER_COMPACTION = 50
COMMITS_AWAITING_INDEX = 1_000  # a loaded table is left alone for so many commits, for its first index to be built
KEPT_COMMITS = 10 * COMMITS_PER_COMPACTION
KEEP_AT_MOST_S = 60.0  # for longer than a read needs; a read that needs more is done again
KEEP_AT_LEAST_S = 3.0  # for who reads the table without vecferry, and begins no read again; unless the disk is full
KEEP_ALL = timedelta(days=36_500)
KEEP_NONE = timedelta(milliseconds=1)  # lancedb warns of a 0
LEAST_BOUND = 16 * 2**20  # a smaller table is not cleaned all the time for a bound that matters to nobody
BYTES_PER_COMMIT = 128 * 2**10  # manifest, transaction, deletion files: beside the rows
SAY_AGAIN_S = 600.0
UNNAMED_S = 3_600.0


class Housekeeping:
    """Of one table, for the worker that writes it. ``max_growth``: see ``options.py``."""

    def __init__(self, connection: Connection, clock: Clock, max_growth: float, turns: Turns) -> None:
        self._connection = connection
        self._clock = clock
        self._max_growth = max_growth
        self._turns = turns
        self._folder = folder_of(connection.uri, connection.placement.table)
        self._commits = 0
        self._committed_s: deque[float] = deque(maxlen=KEPT_COMMITS)
        self._room = 0.0  # bytes that may be written before the space is measured again
        self._silent_until_s = float("-inf")

    def wrote(self, rows_bytes: int) -> None:
        """Call after each commit of about ``rows_bytes``."""
        self._commits += 1
        self._committed_s.append(self._clock.monotonic_s())
        self._room -= rows_bytes + BYTES_PER_COMMIT

    def tidy(self) -> None:
        """Clean if it is due. Raises nothing: the batch is in the table, and nothing that is wrong here ends a worker.

        If another process commits meanwhile, that commit wins, and the files stay unmerged until the next time.
        """
        if not self._commits or (self._room > 0 and self._commits % COMMITS_PER_COMPACTION):
            return
        try:
            with translated(self._connection.where):
                self._tidy()
        except VecferryError as error:
            self._commits = 0
            self._say(error)

    def make_room(self) -> None:
        """Free what old versions hold of a full disk; raises what Lance raises."""
        with self._turns.of_files() as alone:
            self._drop_superseded(alone=alone, at_once=True)
            self._optimize(KEEP_NONE)

    def size(self) -> Size:
        """See ``Store.size``."""
        table = self._connection.find()
        if table is None:
            return Size(held=0, bound=None)
        space = None if self._folder is None else space_of(self._folder)
        return Size(held=None if space is None else space.used, bound=int(self._bound(self._fresh())))

    def _tidy(self) -> None:
        due = self._commits % COMMITS_PER_COMPACTION == 0
        if not due and self._left() > 0:
            return
        if self._commits < COMMITS_AWAITING_INDEX and self._awaits_index():
            if self._left() <= 0:  # merging files during the build of an index would make the build start again
                self._drop_superseded(alone=False)
            return
        self._commits = 0
        with self._turns.of_files() as alone:
            self._compact(self._keep())
            if self._left() <= 0:
                self._drop_superseded(alone=alone)
                self._compact(timedelta(seconds=KEEP_AT_LEAST_S))
                self._left()

    def _compact(self, keep: timedelta) -> None:
        try:
            with translated(self._connection.where):
                self._optimize(keep)
        except (Transient, DiskFull) as reason:
            log.info("compaction put off: %s", reason)

    def _optimize(self, keep: timedelta) -> None:
        table = self._connection.latest()
        if tags := table.tags.list():  # Lance drops no version then, or refuses to
            names = ", ".join(sorted(tags))
            self._say(
                StoreError(f"old versions stay while one is tagged ({names}); delete the tags: table.tags.delete")
            )
            keep = KEEP_ALL
        table.optimize(cleanup_older_than=keep)

    def _drop_superseded(self, *, alone: bool, at_once: bool = False) -> None:
        """``alone``: no other process of vecferry is writing, so what none has named for an hour is nobody's."""
        if self._folder is not None:
            tags = self._connection.latest().tags.list()
            before_unix_s = self._clock.unix_s() - UNNAMED_S if alone else float("-inf")
            kept = {int(tag["version"]) for tag in tags.values()}
            since_unix_s = float("inf") if at_once else self._clock.unix_s() - KEEP_AT_LEAST_S
            drop_superseded(self._folder, kept, unnamed_before_unix_s=before_unix_s, since_unix_s=since_unix_s)

    def _left(self) -> float:
        """Bytes that may be written before the table must be cleaned: a compaction needs room for a copy of it."""
        space = None if self._folder is None else space_of(self._folder)
        if space is None:
            self._room = float("inf")
            return self._room
        fresh = self._fresh()
        left = min(self._bound(fresh), space.used + space.free) - fresh - space.used
        # Half of it: writes are counted roughly. A table that cannot be made smaller is not cleaned at every commit.
        self._room = left / 2 if left > 0 else max(fresh, LEAST_BOUND / 2) / 2
        return left

    def _bound(self, fresh: int) -> float:
        return max(self._max_growth * fresh, LEAST_BOUND)

    def _fresh(self) -> int:
        """About what a fresh copy takes: the files of the latest version and its indices."""
        table = self._connection.latest()
        data: int = cast(Any, table.stats())["total_bytes"]
        return data + sum(entry.size_bytes or 0 for entry in table.list_indices())

    def _keep(self) -> timedelta:
        kept_s = KEEP_AT_MOST_S
        if len(self._committed_s) == KEPT_COMMITS:
            kept_s = min(kept_s, self._clock.monotonic_s() - self._committed_s[0])
        return timedelta(seconds=kept_s)

    def _say(self, error: VecferryError) -> None:
        now_s = self._clock.monotonic_s()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + SAY_AGAIN_S
            log.warning("%s is not cleaned, which makes it slower and larger: %s", self._connection.where, error)

    def _awaits_index(self) -> bool:
        partitions = self._connection.collection.partitions
        return search.lacks_index(self._connection) and len(read.applied(self._connection).complete) == partitions
