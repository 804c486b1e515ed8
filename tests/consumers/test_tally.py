"""The tally of a snapshot partition: what counts, what does not, and what can never be made good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.consumers.tally import Tally, close_chunk, count_block
from vecferry.schemas.batch import EventBatch
from vecferry.schemas.snapshot import RUN_CLOSED, SnapshotBlock, SnapshotMarker


def block(chunk: int, rows: int, digest: int = 5, generation: int = 1) -> SnapshotBlock:
    events = EventBatch(
        ids=[f"{chunk}-{row}" for row in range(rows)],
        ops=np.zeros(rows, np.int8),
        partitions=np.zeros(rows, np.int32),
        positions=np.ones(rows, np.int64),
        vectors=np.zeros((rows, 1), np.float32),
        metadata=[b"{}"] * rows,
    )
    return SnapshotBlock(run="r1", chunk=chunk, generation=generation, digest=digest, events=events)


def marker(chunk: int, rows: int = 0, digest: int = 0, generation: int = 1, chunks: int = 2) -> SnapshotMarker:
    return SnapshotMarker(run="r1", chunk=chunk, generation=generation, rows=rows, digest=digest, chunks=chunks)


def play(*messages: SnapshotBlock | SnapshotMarker) -> tuple[Tally, list[bool]]:
    tally, boundaries = Tally(), []
    for message in messages:
        if isinstance(message, SnapshotBlock):
            tally = count_block(tally, message)
        else:
            tally, whole = close_chunk(tally, message)
            boundaries.append(whole)
    return tally, boundaries


def test_a_run_that_arrives_whole_is_closed() -> None:
    tally, boundaries = play(block(0, 3), block(0, 2), marker(0, 5, 10), marker(1), marker(RUN_CLOSED))
    assert tally.closed
    assert boundaries == [True, True, True]


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ((block(0, 3), marker(0, 4, 5)), "arrived with 3 rows"),
        ((block(0, 3, digest=6), marker(0, 3, 5)), "digest 6"),
        ((marker(0, 1, 5),), "arrived with 0 rows"),
        ((marker(1),), "chunk 0 is missing"),
        ((marker(0), marker(RUN_CLOSED)), "closed after 1 of 2 chunks"),
    ],
)
def test_what_is_missing_is_named_and_final(messages: tuple[SnapshotBlock | SnapshotMarker, ...], problem: str) -> None:
    tally, boundaries = play(*messages, marker(0), marker(1), marker(RUN_CLOSED))
    assert problem in tally.problem
    assert not tally.closed
    assert boundaries[-3:] == [False, False, False]


def test_a_newer_mover_counts_its_chunk_from_the_start() -> None:
    half_sent = block(0, 3)
    tally, _ = play(half_sent, block(0, 3, generation=2), block(0, 1, generation=2), marker(0, 4, 10, generation=2))
    assert (tally.next_chunk, tally.problem) == (1, "")


def test_an_older_mover_that_wakes_up_counts_for_nothing() -> None:
    tally, boundaries = play(block(0, 3, generation=2), block(0, 9), marker(0, 9, 5), marker(0, 3, 5, generation=2))
    assert (tally.next_chunk, tally.problem) == (1, "")
    assert boundaries == [False, True]


def test_a_chunk_sent_again_is_a_boundary_and_counts_once() -> None:
    again = (block(0, 3, generation=2), marker(0, 3, 5, generation=2))
    tally, boundaries = play(block(0, 3), marker(0, 3, 5), *again, marker(1, generation=2))
    assert (tally.next_chunk, tally.problem) == (2, "")
    assert boundaries == [True, True, True]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_a_run_with_anything_left_out_is_never_closed(sizes: list[int], data: st.DataObject) -> None:
    chunks = len(sizes)
    whole: list[SnapshotBlock | SnapshotMarker] = []
    for chunk, rows in enumerate(sizes):
        whole += [block(chunk, 1, digest=row + 1) for row in range(rows)]
        whole.append(marker(chunk, rows, sum(range(1, rows + 1)), chunks=chunks))
    whole.append(marker(RUN_CLOSED, chunks=chunks))
    assert play(*whole)[0].closed
    left_out = data.draw(st.integers(0, len(whole) - 1))
    assert not play(*whole[:left_out], *whole[left_out + 1 :])[0].closed
