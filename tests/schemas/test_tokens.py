"""Write tokens survive a cookie, and nothing else becomes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.schemas.tokens import WriteToken

positions = st.dictionaries(st.integers(0, 9_999), st.integers(0, 2**53 - 1))


@given(st.from_regex(r"[a-z0-9_.-]{1,30}", fullmatch=True), positions)
def test_text_and_back(topic: str, at: dict[int, int]) -> None:
    token = WriteToken(topic, at)
    assert WriteToken.parse(str(token)) == token
    assert hash(WriteToken.parse(str(token))) == hash(token)


def test_one_write_has_one_partition_and_position() -> None:
    token = WriteToken("shop.products.events", {3: 77})
    assert (token.partition, token.position) == (3, 77)
    assert str(token) == "shop.products.events@3=77"
    with pytest.raises(ValueError, match="it is of 2 partitions"):
        _ = WriteToken("t", {1: 2, 3: 4}).partition


@pytest.mark.parametrize("text", ["", "t", "@1=2", "t@1", "t@1=", "t@1=2,", "t@1=-2", "t@01=2", "t@1=2,1=3", "t@1=2 "])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a write token"):
        WriteToken.parse(text)
