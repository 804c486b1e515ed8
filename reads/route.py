"""Which replica answers for which key. Pure.

A key has a fixed place among 10,000 buckets. The last replica of a route has the lowest of them, as many as its share
says, the one before it those that follow, and the first one what is left. So a key that a small share moved from the
first replica to the last stays moved under every larger one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import accumulate

from ..journal.route import Route

BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Replicas, each with the percent of the keys whose reads go to it: 100 in all."""

    generation: int
    weights: tuple[tuple[str, int], ...]

    @property
    def old(self) -> str:
        """The first replica: the one that the migration leaves."""
        return self.weights[0][0]

    @property
    def new(self) -> str:
        """The last replica: the one that the migration goes to."""
        return self.weights[-1][0]

    @property
    def percent(self) -> int:
        """The share of ``new``; 0 where there is only one replica."""
        return self.weights[-1][1] if len(self.weights) > 1 else 0

    @property
    def home(self) -> str:
        """The first replica that answers reads; where more than one does, the others are canaries."""
        return next(store for store, share in self.weights if share > 0)

    @property
    def canary(self) -> bool:
        """Whether more than one replica answers reads."""
        return sum(share > 0 for _, share in self.weights) > 1

    @property
    def stores(self) -> frozenset[str]:
        """Every replica that the route names."""
        return frozenset(store for store, _ in self.weights)

    def store_of(self, bucket: int) -> str:
        """The replica that answers for the keys of ``bucket``."""
        below = 0
        for store, share in reversed(self.weights):
            below += share
            if bucket * 100 < below * BUCKETS:
                return store
        raise ValueError(f"bucket {bucket} is not one of {BUCKETS}")

    def edges(self) -> set[int]:
        """The buckets at which another replica begins."""
        shares = (share for _, share in reversed(self.weights))
        return {0, *(below * BUCKETS // 100 for below in accumulate(shares))} - {BUCKETS}


def split_of(route: Route) -> Split:
    """What a route record says."""
    return Split(generation=route.generation, weights=tuple(route.weights.items()))


def whole(store: str) -> Split:
    """Every read goes to ``store``: how a collection without a route record is read."""
    return Split(generation=0, weights=((store, 100),))


def without_canary(split: Split) -> Split:
    """The same route with everything on its home."""
    return replace(split, weights=tuple((store, 100 if store == split.home else 0) for store, _ in split.weights))


def bucket_of(key: str) -> int:
    """The bucket of ``key``: 0 to 9,999, the same in every process and release."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def gaining_stores(before: Split, after: Split) -> frozenset[str]:
    """The stores that some key reads under ``after`` and did not read under ``before``."""
    # Which store a bucket has changes at most at these places, so one bucket of each stretch speaks for all of it.
    moves = [(before.store_of(bucket), after.store_of(bucket)) for bucket in before.edges() | after.edges()]
    return frozenset(new for old, new in moves if old != new)
