"""Numbers and lists as sentences have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def count(number: int, thing: str) -> str:
    """``1 partition``, ``2 partitions``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def ranges(numbers: Iterable[int]) -> str:
    """``0-3, 7``: each number once, ascending, neighbours drawn together."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def partitions(numbers: Iterable[int]) -> str:
    """``partition 3``, ``partitions 0-3, 7``."""
    found = set(numbers)
    return f"partition{'' if len(found) == 1 else 's'} {ranges(found)}"


def open_transactions(firsts: Mapping[int, int]) -> str:
    """``held back by an open transaction in partition 3 since offset 7``; "" for none. Partition -> first offset."""
    where = [f"partition {partition} since offset {offset}" for partition, offset in sorted(firsts.items())]
    return f"held back by an open transaction in {', '.join(where)}" if where else ""


def mib(size_bytes: int) -> str:
    """``37.2 MiB``."""
    return f"{size_bytes / 2**20:.1f} MiB"
