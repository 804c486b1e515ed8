"""Positions: the ranges, the way there and back, and the one order of epochs and offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.schemas.position import (
    MAX_EPOCH,
    MAX_OFFSET,
    MIN_EPOCH,
    base_position,
    encode_position,
    epoch_of,
    next_offset,
    offset_of,
)

epochs = st.integers(MIN_EPOCH, MAX_EPOCH) | st.sampled_from([MIN_EPOCH, MAX_EPOCH])
offsets = st.integers(0, MAX_OFFSET) | st.sampled_from([0, 1, MAX_OFFSET - 1, MAX_OFFSET])


@given(epochs, offsets)
def test_a_position_holds_its_epoch_and_offset_and_fits_a_float64(epoch: int, offset: int) -> None:
    position = encode_position(epoch, offset)
    assert (epoch_of(position), offset_of(position)) == (epoch, offset)
    assert 0 < position < 2**53
    assert int(float(position)) == position


@given(st.tuples(epochs, offsets), st.tuples(epochs, offsets))
def test_positions_are_ordered_as_their_epochs_and_then_as_their_offsets(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    assert (encode_position(*one) < encode_position(*other)) == (one < other)
    assert (encode_position(*one) == encode_position(*other)) == (one == other)


@given(epochs, offsets)
def test_base_is_older_than_its_epoch_and_newer_than_the_one_before(epoch: int, offset: int) -> None:
    assert base_position(epoch) < encode_position(epoch, offset)
    if epoch > MIN_EPOCH:
        assert encode_position(epoch - 1, offset) < base_position(epoch)


@pytest.mark.parametrize("epoch", [MIN_EPOCH - 1, -1, MAX_EPOCH + 1])
def test_an_epoch_outside_its_range_is_named(epoch: int) -> None:
    for make in (base_position, lambda number: encode_position(number, 0)):
        with pytest.raises(ValueError, match=rf"^epoch {epoch} is outside 1\.\.4095$"):
            make(epoch)


@pytest.mark.parametrize("offset", [-1, -1001, MAX_OFFSET + 1, 2**63])
def test_an_offset_outside_its_range_is_named(offset: int) -> None:
    with pytest.raises(ValueError, match=rf"^offset {offset} is outside 0\.\.{MAX_OFFSET}$"):
        encode_position(1, offset)


@given(offsets)
def test_the_next_offset_is_the_next(offset: int) -> None:
    assert next_offset(offset) - offset == 1
