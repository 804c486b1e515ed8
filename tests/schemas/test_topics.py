"""Names of topics and groups: told apart by any two names that are allowed, and taken by Kafka."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.schemas import topics
from vecferry.schemas.topics import check_name

names = st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True)


def all_names(namespace: str, collection: str, last: str) -> list[str]:
    return [
        topics.events_topic(namespace, collection),
        topics.snapshot_topic(namespace, collection, last),
        topics.dlq_topic(namespace, collection),
        topics.control_topic(namespace),
        topics.progress_topic(namespace),
    ]


def test_the_names_are_those_of_the_documents() -> None:
    assert all_names("shop", "products", "r1") == [
        "shop.products.events",
        "shop.products.snapshot.r1",
        "shop.products.dlq",
        "shop.control",
        "shop.progress",
    ]
    assert topics.group_id("shop", "products", "new") == "shop.products.new"


@given(names)
def test_a_name_that_fits_is_returned(name: str) -> None:
    assert check_name("store", name) == name


@pytest.mark.parametrize("name", ["", "a.b", "a b", "é", "a/b", "a\n", "x" * 61, "${A}"])
def test_a_name_that_does_not_fit_is_refused_with_what_may_stand_there(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"store {name!r} may hold only letters, digits, '-' and '_'")):
        check_name("store", name)


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_no_two_topics_share_a_name_and_kafka_takes_each(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    mine = all_names(*one)
    assert len(set(mine)) == len(mine)
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name) for name in mine)
    if one[0] != other[0]:
        assert not set(mine) & set(all_names(*other))
