"""The laws of a route: sticky, monotone, close to the asked share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from vecferry.reads.route import BUCKETS, Split, bucket_of, gaining_stores, whole, without_canary

percents = st.integers(0, 100)


def split(percent: int, old: str = "old", new: str = "new") -> Split:
    return Split(generation=1, old=old, new=new, percent=percent)


@given(st.text(), percents, percents)
def test_a_moved_key_stays_moved_under_every_larger_percentage(key: str, one: int, other: int) -> None:
    bucket, (small, large) = bucket_of(key), sorted((one, other))
    if split(small).store_of(bucket) == "new":
        assert split(large).store_of(bucket) == "new"


@given(percents)
def test_the_share_of_buckets_is_exact(percent: int) -> None:
    moved = sum(split(percent).store_of(bucket) == "new" for bucket in range(BUCKETS))
    assert moved * 100 == percent * BUCKETS


def test_keys_spread_evenly() -> None:
    moved = sum(split(25).store_of(bucket_of(f"user-{n}")) == "new" for n in range(20_000))
    assert 0.23 < moved / 20_000 < 0.27


def test_a_key_keeps_its_bucket_from_release_to_release() -> None:
    assert [bucket_of(key) for key in ("", "user-1", "ключ", "\ud800")] == PINNED


PINNED = [9876, 3768, 5712, 3464]


@given(percents, percents, st.sampled_from(["old", "new", "third"]), st.sampled_from(["old", "new", "third"]))
def test_gaining_stores_are_those_that_some_bucket_moves_to(before: int, after: int, old: str, new: str) -> None:
    one, other = split(before), split(after, old, new)
    moves = {(one.store_of(bucket), other.store_of(bucket)) for bucket in range(BUCKETS)}
    assert gaining_stores(one, other) == {new for old, new in moves if old != new}


def test_only_a_split_between_two_stores_is_a_canary() -> None:
    assert [split(percent).canary for percent in (0, 1, 99, 100)] == [False, True, True, False]
    assert not whole("old").canary
    assert without_canary(split(25)) == split(0)
