"""Write tokens: a publisher returns them, and a reader waits for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InvalidRecord

_LOOKS = "shop.products.events@3=2199023255553"
_ENTRY = re.compile(r"(0|[1-9][0-9]{0,9})=(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Run:
    """The writes at the positions ``first`` to ``last`` of ``partition``, both included."""

    partition: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class WriteToken:
    """Acknowledged writes: partition -> the highest position among them.

    A store that has applied each partition beyond its position has applied the writes. One write has one partition, a
    batch several, an empty batch none. ``str(token)`` and :meth:`parse` carry a token through a cookie or a header.

    ``writes``: exactly which positions they are. The text of a token does not carry them: afterwards a batch is known
    by its last write in each partition.
    """

    topic: str
    positions: Mapping[int, int]
    writes: tuple[Run, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.writes:
            runs = tuple(Run(partition, position, position) for partition, position in self.positions.items())
            object.__setattr__(self, "writes", runs)

    @property
    def partition(self) -> int:
        """The partition of a single write; InvalidRecord, which is a ValueError, unless the token has exactly one."""
        if len(self.positions) != 1:
            raise InvalidRecord("token", f"it is of {len(self.positions)} partitions", "use its positions")
        return next(iter(self.positions))

    @property
    def position(self) -> int:
        """The position of a single write; raises as ``partition``."""
        return self.positions[self.partition]

    def __str__(self) -> str:
        entries = ",".join(f"{partition}={position}" for partition, position in sorted(self.positions.items()))
        return f"{self.topic}@{entries}"

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def parse(cls, text: str) -> WriteToken:
        """The token that ``str`` made; InvalidRecord, which is a ValueError, for anything else."""
        if not isinstance(text, str):
            raise InvalidRecord("token", f"{type(text).__name__} is no text", "pass what str(token) gave")
        topic, at, entries = text.rpartition("@")
        found = [_ENTRY.fullmatch(entry) for entry in entries.split(",")] if entries else []
        positions = {int(match[1]): int(match[2]) for match in found if match}
        if not at or not topic or None in found or len(positions) != len(found):
            raise InvalidRecord("token", f"{text[:80]!r} is not a write token", f"it looks like {_LOOKS}")
        return cls(topic, positions)
