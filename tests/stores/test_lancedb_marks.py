"""Marks as rows, without a store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.errors import Rejected
from vecferry.schemas.batch import LiveMark, Mark, SnapshotMark
from vecferry.stores.lancedb.marks import PREFIX, PREFIX_END, first_marks, mark_rows, read_marks

OFFSETS = st.integers(0, 2**41 - 1)
LIVE = st.builds(LiveMark, partition=st.integers(0, 999), next_offset=OFFSETS)
SNAPSHOT = st.builds(
    SnapshotMark,
    run=st.text(min_size=1, max_size=5),
    partition=st.integers(0, 999),
    next_offset=OFFSETS,
    next_chunk=st.integers(0, 2**20 - 1),
    closed=st.booleans(),
)


@given(mark=LIVE | SNAPSHOT, epoch=st.integers(1, 4095))
def test_a_mark_comes_back_as_it_was(mark: Mark, epoch: int) -> None:
    rows = mark_rows([mark], epoch)
    assert all(PREFIX < row_id < PREFIX_END and position < 2**63 for row_id, position in rows)
    applied = read_marks(rows, epoch)
    if isinstance(mark, LiveMark):
        assert applied.live == {mark.partition: mark.next_offset}
    else:
        assert applied.snapshots == {(mark.run, mark.partition): mark}
        assert applied.complete == ({mark.partition} if mark.closed else set())


@given(one=SNAPSHOT, other=SNAPSHOT)
def test_the_newer_snapshot_mark_has_the_higher_position(one: SnapshotMark, other: SnapshotMark) -> None:
    def order(mark: SnapshotMark) -> tuple[int, int, bool]:
        return mark.next_offset, mark.next_chunk, mark.closed

    (_, first), (_, second) = mark_rows([one], 1)[0], mark_rows([other], 1)[0]
    assert (first < second) == (order(one) < order(other))


def test_marks_of_one_partition_fold_into_the_newest() -> None:
    marks = [LiveMark(partition=3, next_offset=offset) for offset in (5, 9, 7)]
    assert read_marks(mark_rows(marks, 1), 1).live == {3: 9}


def test_a_new_epoch_starts_at_zero_above_the_old_one() -> None:
    old, new = mark_rows([LiveMark(partition=0, next_offset=2**41 - 2)], 1), first_marks(1, 2, complete=False)
    assert new[0][0] == old[0][0]
    assert new[0][1] > old[0][1]
    assert read_marks(old, 2).live == {}
    assert read_marks(new, 2).live == {0: 0}


@pytest.mark.parametrize(
    "mark",
    [
        LiveMark(partition=0, next_offset=2**41),
        LiveMark(partition=0, next_offset=-1),
        SnapshotMark(run="r", partition=0, next_offset=0, next_chunk=2**20),
    ],
)
def test_what_does_not_fit_is_refused(mark: Mark) -> None:
    with pytest.raises(Rejected, match="out"):
        mark_rows([mark], 1)
