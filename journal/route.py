"""Control topic, ``route/<c>``: where reads go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic.functional_validators import AfterValidator

from .record import Record


def _whole(weights: Mapping[str, int]) -> Mapping[str, int]:
    if sum(weights.values()) != 100:
        raise ValueError("shares must add up to 100")
    return weights


Share = Annotated[int, Field(ge=0, le=100, strict=True)]


class Route(Record):
    """Where reads go. ``weights``: replica -> percent of the keys, 100 in all; the later ones gain from the first.

    ``generation`` only grows. Version 1 knew two replicas: ``percent`` of the keys to ``new``, the others to ``old``.
    """

    NEWEST: ClassVar[int] = 2

    version: int = 2
    generation: int
    weights: Annotated[Mapping[str, Share], AfterValidator(_whole)]
    changed_unix_s: float

    @model_validator(mode="before")
    @classmethod
    def _of_two(cls, data: object) -> object:
        """What version 1 wrote, as weights."""
        if not isinstance(data, dict) or data.get("version", 1) != 1 or "weights" in data:
            return data
        first = {"old", "new", "percent"}
        if not first <= data.keys() or type(data["percent"]) is not int:
            return data
        kept = {key: value for key, value in data.items() if key not in first}
        return {**kept, "version": 2, "weights": between(data["old"], data["new"], data["percent"])}

    def share(self, replica: str) -> int:
        """Percent of the keys that ``replica`` answers for."""
        return self.weights.get(replica, 0)

    def moved(self, source: str) -> int:
        """Percent of the keys that ``source`` does not answer for any more."""
        return 100 - self.share(source)


def between(source: str, target: str, percent: int) -> dict[str, int]:
    """The weights that give ``percent`` of the keys to ``target`` and the others to ``source``."""
    return {source: 100 - percent, target: percent}


def route_key(collection: str) -> str:
    """Key of Route."""
    return f"route/{collection}"
