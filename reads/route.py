"""Which store answers for which key. Pure.

A key has a fixed place among 10,000 buckets, and a route of ``percent`` takes the lowest ``percent`` per cent of them
to the new store. So a key that a small percentage moved stays moved under every larger one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

from ..journal.route import Route

BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Reads of ``percent`` of the keys go to the store ``new``, all others to ``old``."""

    generation: int
    old: str
    new: str
    percent: int

    @property
    def canary(self) -> bool:
        """Whether both stores answer reads."""
        return self.old != self.new and 0 < self.percent < 100

    def store_of(self, bucket: int) -> str:
        """The store that answers for the keys of ``bucket``."""
        return self.new if bucket * 100 < self.percent * BUCKETS else self.old


def split_of(route: Route) -> Split:
    """What a route record says."""
    return Split(generation=route.generation, old=route.old, new=route.new, percent=route.percent)


def whole(store: str) -> Split:
    """Every read goes to ``store``: how a collection without a route record is read."""
    return Split(generation=0, old=store, new=store, percent=0)


def without_canary(split: Split) -> Split:
    """The same route with nothing on the new store."""
    return replace(split, percent=0)


def bucket_of(key: str) -> int:
    """The bucket of ``key``: 0 to 9,999, the same in every process and release."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def gaining_stores(before: Split, after: Split) -> frozenset[str]:
    """The stores that some key reads under ``after`` and did not read under ``before``."""
    # Which store a bucket has changes at most at these two places, so one bucket of each stretch speaks for all of it.
    edges = sorted({0, *(split.percent * BUCKETS // 100 for split in (before, after))})
    stretches = [bucket for bucket in edges if bucket < BUCKETS]
    moves = [(before.store_of(bucket), after.store_of(bucket)) for bucket in stretches]
    return frozenset(new for old, new in moves if old != new)
