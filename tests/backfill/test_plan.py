from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.backfill.plan import (
    closed_run,
    first_open_chunk,
    next_run_id,
    page_rows,
)
from vecferry.journal.run import PAGE_CHUNKS, ChunkDone, PlanPage, RunRecord, from_pages, pages_of, to_pages
from vecferry.schemas.collection import MAX_ID_BYTES, MAX_RECORD_BYTES
from vecferry.stores.base import Cursor
from vecferry.stores.key_ranges import KeyRange

CURSOR = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(CURSOR, min_size=1, max_size=3 * PAGE_CHUNKS))
def test_a_plan_comes_back_from_its_pages(chunks: list[Cursor]) -> None:
    pages = to_pages(chunks)
    assert len(pages) == pages_of(len(chunks))
    assert list(from_pages([type(page).model_validate_json(page.encode()) for page in pages])) == chunks


def test_a_page_of_the_longest_ids_fits_a_record() -> None:
    longest = "\x01" * MAX_ID_BYTES
    (page,) = to_pages([[longest, longest]] * PAGE_CHUNKS)
    assert len(page.encode()) < MAX_RECORD_BYTES


def test_a_plan_that_was_journaled_when_chunks_were_ranges_of_ids_is_read() -> None:
    page = PlanPage.model_validate_json(b'{"chunks":[[null,"b"],["b","d"],["d",null]]}')
    assert [KeyRange.of(chunk) for chunk in from_pages([page])] == [
        KeyRange(lower=None, upper="b"),
        KeyRange(lower="b", upper="d"),
        KeyRange(lower="d", upper=None),
    ]
    assert to_pages(from_pages([page])) == [page]


def test_run_ids_count_up_and_fill_no_taken_one() -> None:
    assert next_run_id(()) == "r1"
    assert next_run_id({"r1", "r2", "other"}) == "r3"


def done(rows: int, *fences: int) -> ChunkDone:
    return ChunkDone(generation=1, rows=rows, fences=fences)


@pytest.mark.parametrize(("numbers", "first"), [((), 0), ((0, 1), 2), ((0, 1, 2), 3), ((1, 2), 0)])
def test_a_run_goes_on_at_its_first_chunk_that_is_not_done(numbers: tuple[int, ...], first: int) -> None:
    assert first_open_chunk({number: done(1, 0) for number in numbers}, 3) == first


def test_a_closed_run_has_the_lowest_fences_and_all_rows() -> None:
    run = RunRecord(
        run="r1",
        source="old",
        targets=("new",),
        state="copying",
        epoch=1,
        partitions=2,
        chunks=2,
        chunk_rows=10,
        estimated_rows=20,
        generation=3,
        created_unix_s=0.0,
        fences=(5, 9),
    )
    closed = closed_run(run, {0: done(10, 7, 8), 1: done(4, 9, 12)})
    # Partition 0: as noted when planned (a chunk that was sent twice may have rows from then). 1: a chunk lay lower.
    assert (closed.state, closed.rows, closed.fences, closed.generation) == ("closed", 14, (5, 8), 3)


@pytest.mark.parametrize(
    ("chunk_rows", "dimension", "rows"),
    [(10_000, 384, 1_365), (10_000, 1536, 341), (10_000, 16_000, 256), (100, 16_000, 101), (1_000, 384, 1_001)],
)
def test_pages_are_bounded_by_bytes_and_by_the_chunk(chunk_rows: int, dimension: int, rows: int) -> None:
    assert page_rows(chunk_rows, dimension) == rows
