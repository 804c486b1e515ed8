"""Marks as rows: how far the table has been applied, kept in the table itself.

A mark is a row without a vector whose id starts with NUL, which no published id contains, and whose position holds its
whole value. The guard that protects every other row (newer position wins) therefore also keeps marks from moving back,
and a mark is committed together with the rows that it covers.

``\\0vecferry/live/<partition>``                    epoch and next offset, encoded as a position
``\\0vecferry/snapshot/<epoch>/<run>/<partition>``  next offset, next chunk, closed: 41 + 20 + 1 bits
``\\0vecferry/complete/<partition>``                a source's: the epoch since whose beginning it is complete
``\\0vecferry/lock/<partition>``                    no position; every batch of the partition rewrites it

A partition is also complete once the mark of a run says that the run was closed in it. A separate row for that could be
written even if the guard refused the mark.

Two batches of one partition must conflict, even if they share no row and the older one was suspended in the middle of
its merge. Lance detects a conflict between two inserts only in the table's history, and not in versions that were
cleaned up: an upsert older than a delete could then insert a second row for the id. Every batch rewrites the lock row,
so the newer batch has replaced its fragment. Lance detects that without the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...errors import Rejected
from ...schemas.batch import Applied, LiveMark, Mark, SnapshotMark
from ...schemas.position import OFFSET_BITS, epoch_of, offset_of

PREFIX = "\x00vecferry/"
PREFIX_END = "\x00vecferry0"  # the first text after everything that starts with PREFIX
_LIVE = PREFIX + "live/"
_SNAPSHOT = PREFIX + "snapshot/"
_COMPLETE = PREFIX + "complete/"
_LOCK = PREFIX + "lock/"
_CHUNK_BITS = 20


def mark_rows(marks: Sequence[Mark], epoch: int) -> list[tuple[str, int]]:
    """(id, position) of the rows for ``marks``. No id occurs twice: the newest mark of each wins."""
    newest: dict[str, int] = {}
    for mark in marks:
        row_id, position = _row_of(mark, epoch)
        newest[row_id] = max(position, newest.get(row_id, position))
    return list(newest.items())


def lock_rows(partitions: Iterable[int]) -> list[tuple[str, None]]:
    """(id, position) of the lock rows of ``partitions``."""
    return [(f"{_LOCK}{partition}", None) for partition in sorted(set(partitions))]


def known_rows(marks: Iterable[Mark], epoch: int) -> dict[str, tuple[int, Mark]]:
    """Row id -> (the position that the row must have reached, the mark), for marks that have a ``known``."""
    found: dict[str, tuple[int, Mark]] = {}
    for mark in marks:
        if mark.known:
            before = replace(mark, next_offset=mark.known)
            if isinstance(before, SnapshotMark):
                before = replace(before, next_chunk=0, closed=False)
            row_id, position = _row_of(before, epoch)
            found[row_id] = position, mark
    return found


def next_offset_of(mark: Mark, position: int | None) -> int:
    """The next offset that is encoded in the position of ``mark``'s row; 0 if there is no row."""
    if position is None:
        return 0
    return position >> (_CHUNK_BITS + 1) if isinstance(mark, SnapshotMark) else offset_of(position)


def first_marks(partitions: int, epoch: int, *, complete: bool) -> list[tuple[str, int]]:
    """(id, position) of the rows that a new table starts with: nothing applied in any partition."""
    rows = [(f"{_LIVE}{partition}", _live_position(epoch, 0)) for partition in range(partitions)]
    if complete:
        rows += [(f"{_COMPLETE}{partition}", epoch) for partition in range(partitions)]
    return rows


def read_marks(rows: Iterable[tuple[str, int | None]], epoch: int) -> Applied:
    """The marks in ``rows``. Marks of another epoch are left out: their offsets and runs are other ones."""
    live: dict[int, int] = {}
    complete: set[int] = set()
    snapshots: dict[tuple[str, int], SnapshotMark] = {}
    for row_id, position in rows:
        if position is None:
            continue  # a lock
        kind, _, partition = row_id.rpartition("/")
        if kind + "/" == _LIVE:
            if epoch_of(position) == epoch:
                live[int(partition)] = offset_of(position)
        elif kind + "/" == _COMPLETE:
            if position == epoch:
                complete.add(int(partition))
        elif kind.startswith(_snapshots(epoch)):
            mark = _snapshot_mark(kind.removeprefix(_snapshots(epoch)), int(partition), position)
            snapshots[mark.run, mark.partition] = mark
            if mark.closed:
                complete.add(mark.partition)
    return Applied(live=live, complete=frozenset(complete), snapshots=snapshots)


def _row_of(mark: Mark, epoch: int) -> tuple[str, int]:
    if isinstance(mark, LiveMark):
        return f"{_LIVE}{mark.partition}", _live_position(epoch, mark.next_offset)
    return f"{_snapshots(epoch)}{mark.run}/{mark.partition}", _snapshot_position(mark)


def _snapshots(epoch: int) -> str:
    return f"{_SNAPSHOT}{epoch}/"


def _live_position(epoch: int, next_offset: int) -> int:
    if not 0 <= next_offset < 1 << OFFSET_BITS:
        raise Rejected(f"next offset {next_offset} is outside 0..{(1 << OFFSET_BITS) - 1}")
    return (epoch << OFFSET_BITS) + next_offset


def _snapshot_position(mark: SnapshotMark) -> int:
    if not (0 <= mark.next_offset < 1 << OFFSET_BITS and 0 <= mark.next_chunk < 1 << _CHUNK_BITS):
        raise Rejected(f"snapshot mark out of range: offset {mark.next_offset}, chunk {mark.next_chunk}")
    return (mark.next_offset << _CHUNK_BITS | mark.next_chunk) << 1 | mark.closed


def _snapshot_mark(run: str, partition: int, position: int) -> SnapshotMark:
    return SnapshotMark(
        run=run,
        partition=partition,
        next_offset=position >> (_CHUNK_BITS + 1),
        next_chunk=position >> 1 & ((1 << _CHUNK_BITS) - 1),
        closed=bool(position & 1),
    )
