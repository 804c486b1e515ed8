"""How numbers and lists are written."""

from __future__ import annotations

import pytest
from vecferry.wording import count, partitions, ranges


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], ""),
        ([5], "5"),
        ([1, 0], "0-1"),
        ([0, 1, 2, 3, 7, 9, 10, 2], "0-3, 7, 9-10"),
        (range(1024), "0-1023"),
    ],
)
def test_neighbours_are_drawn_together(numbers: list[int], expected: str) -> None:
    assert ranges(numbers) == expected


def test_one_thing_is_one_thing() -> None:
    assert [count(number, "chunk") for number in (0, 1, 2)] == ["0 chunks", "1 chunk", "2 chunks"]
    assert [partitions(numbers) for numbers in ([3], [3, 4])] == ["partition 3", "partitions 3-4"]
