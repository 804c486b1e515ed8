"""A batch goes to its store in pieces that the store takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from numpy.typing import NDArray
from store_data import DIMENSION, at, batch, collection
from vecferry.clock import SYSTEM_CLOCK
from vecferry.consumers.applying import Applier
from vecferry.consumers.pieces import pieces
from vecferry.errors import Rejected
from vecferry.schemas.batch import EventBatch, LiveMark, Mark, Op, Outcome

MARK = LiveMark(partition=1, next_offset=10)
CAPABLE = MemoryStore.capabilities


def rows_of(ids: Sequence[str]) -> EventBatch:
    return batch((Op.UPSERT, id_, at(i)) for i, id_ in enumerate(ids))


def bytes_of(part: EventBatch) -> int:
    return part.vectors.nbytes + sum(len(id_.encode()) for id_ in part.ids) + sum(map(len, part.metadata))


@given(
    ids=st.lists(st.text("aé", max_size=40), unique=True, max_size=30),
    max_rows=st.none() | st.integers(1, 31),
    max_bytes=st.none() | st.integers(1, 4_000),
)
def test_pieces_are_the_batch_in_order_within_both_limits(
    ids: list[str], max_rows: int | None, max_bytes: int | None
) -> None:
    whole = rows_of(ids)
    parts = pieces(whole, replace(CAPABLE, max_rows=max_rows, max_bytes=max_bytes))
    assert np.concatenate(parts).tolist() == list(range(len(ids)))
    assert len(parts) == 1 or all(len(part) for part in parts)
    for number, rows in enumerate(parts):
        part = whole.take(rows)
        assert max_rows is None or len(part) <= max_rows
        assert max_bytes is None or len(part) <= 1 or bytes_of(part) <= max_bytes
        if number + 1 < len(parts):  # no piece could have taken the next row too
            more = whole.take(np.append(rows, parts[number + 1][0]))
            assert len(part) == max_rows or (max_bytes is not None and bytes_of(more) > max_bytes)


class Small(MemoryStore):
    """Takes three rows in a call, and never the id "bad"."""

    capabilities = replace(CAPABLE, max_rows=3)

    def __init__(self) -> None:
        super().__init__(collection())
        self.create(complete=False)
        self.calls: list[tuple[int, int]] = []

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if "bad" in batch.ids:
            raise Rejected("bad")
        self.calls.append((len(batch), len(marks)))
        return super().apply(batch, marks)


def test_the_marks_go_with_the_last_piece() -> None:
    store = Small()
    result = Applier(store, DIMENSION, SYSTEM_CLOCK, lambda: False).apply(rows_of("abcdefg"), [MARK])
    assert store.calls == [(3, 0), (3, 0), (1, 1)]
    assert set(result.outcomes.tolist()) == {Outcome.APPLIED}
    assert store.count() == 7


@pytest.mark.parametrize("place", [0, 4, 6])
def test_what_is_rejected_in_a_piece_keeps_the_marks_back(place: int) -> None:
    store = Small()
    ids = [*"abcdef"]
    ids.insert(place, "bad")
    result = Applier(store, DIMENSION, SYSTEM_CLOCK, lambda: False).apply(rows_of(ids), [MARK])
    wanted = [Outcome.DEAD_LETTERED if id_ == "bad" else Outcome.APPLIED for id_ in ids]
    assert result.outcomes.tolist() == wanted
    assert list(result.rejected) == [place]
    assert store.live[1] == 0
    assert store.count() == 6
