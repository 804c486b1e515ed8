"""Position: the one ordering token.

``position = epoch * 2**41 + offset``. The offset is the event's own offset in the live topic, and one key has one
partition, so Kafka itself orders the positions of a key: no clocks, no coordination between producers. Positions stay
below 2**53, where a store that compares in float64 is still exact. They are compared as integers, never decoded first.
"""

from __future__ import annotations

OFFSET_BITS = 41
MAX_OFFSET = 2**OFFSET_BITS - 2  # the highest value of an epoch is kept free: it is the next epoch's BASE
MIN_EPOCH = 1
MAX_EPOCH = 4095


def encode_position(epoch: int, offset: int) -> int:
    """The position of the event at ``offset`` of its partition; ValueError outside the ranges above."""
    if not MIN_EPOCH <= epoch <= MAX_EPOCH:
        raise ValueError(f"epoch {epoch} is outside {MIN_EPOCH}..{MAX_EPOCH}")
    if not 0 <= offset <= MAX_OFFSET:
        raise ValueError(f"offset {offset} is outside 0..{MAX_OFFSET}")
    return (epoch << OFFSET_BITS) + offset


def base_position(epoch: int) -> int:
    """BASE: what a row without a position counts as. Older than every event of ``epoch``, equal in every store."""
    if not MIN_EPOCH <= epoch <= MAX_EPOCH:
        raise ValueError(f"epoch {epoch} is outside {MIN_EPOCH}..{MAX_EPOCH}")
    return (epoch << OFFSET_BITS) - 1


def next_offset(offset: int) -> int:
    """The offset that a consumer wants after it has finished ``offset``. The only ``+ 1`` in the package."""
    return offset + 1


def offset_of(position: int) -> int:
    """The offset inside a position, for display and for tokens; never for order."""
    return position & ((1 << OFFSET_BITS) - 1)


def epoch_of(position: int) -> int:
    """The epoch inside a position, for display."""
    return position >> OFFSET_BITS
