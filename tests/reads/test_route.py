"""The laws of a route: sticky, monotone, close to the asked share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from vecferry.reads.route import BUCKETS, Split, bucket_of, gaining_stores, whole, without_canary

percents = st.integers(0, 100)


def split(percent: int, old: str = "old", new: str = "new") -> Split:
    weights = ((old, 100 - percent), (new, percent)) if old != new else ((old, 100),)
    return Split(generation=1, weights=weights)


def former(bucket: int, percent: int) -> str:
    """The formula of version 1 of the route."""
    return "new" if bucket * 100 < percent * BUCKETS else "old"


def test_two_replicas_share_the_buckets_as_in_version_1() -> None:
    for percent in range(101):
        assert [split(percent).store_of(bucket) for bucket in range(BUCKETS)] == [
            former(bucket, percent) for bucket in range(BUCKETS)
        ]


@st.composite
def weights(draw: st.DrawFn) -> tuple[tuple[str, int], ...]:
    cuts = sorted(draw(st.lists(percents, max_size=4)))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    return tuple((f"r{number}", share) for number, share in enumerate(shares))


@given(weights())
def test_each_of_many_replicas_has_exactly_its_share(weights: tuple[tuple[str, int], ...]) -> None:
    many = Split(generation=1, weights=weights)
    stores = [many.store_of(bucket) for bucket in range(BUCKETS)]
    assert {store: stores.count(store) * 100 // BUCKETS for store, _ in weights} == dict(weights)
    assert many.canary == (len(set(stores)) > 1)
    assert set(map(without_canary(many).store_of, range(BUCKETS))) == {many.home}
    assert many.stores == {store for store, _ in weights}


@given(weights(), weights())
def test_many_replicas_gain_what_some_bucket_moves_to(
    one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]
) -> None:
    before, after = Split(generation=1, weights=one), Split(generation=2, weights=other)
    moves = {(before.store_of(bucket), after.store_of(bucket)) for bucket in range(BUCKETS)}
    assert gaining_stores(before, after) == {new for old, new in moves if old != new}


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_key_that_the_last_of_three_has_stays_with_it_while_it_grows(one: int, other: int) -> None:
    small, large = (
        Split(generation=1, weights=(("a", 70 - percent), ("b", 30), ("c", percent)))
        for percent in sorted((one, other))
    )
    assert {large.store_of(bucket) for bucket in range(BUCKETS) if small.store_of(bucket) == "c"} <= {"c"}


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
