"""The portable filter: ``{"section": "libs", "priority": {"$in": ["optional", "extra"]}}``.

A filter is a conjunction. Each field names a top-level metadata key and matches one of the given scalars, exactly:
``1`` and ``1.0`` are the same number, ``True`` is not ``1``. ``None`` matches a key that is null or missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..errors import InvalidRecord

Scalar = str | int | float | bool | None


class Operator(StrEnum):
    """What a store must be able to do to meet a condition, as people name it."""

    EQUALS = "a value"
    IN = "$in"
    MISSING = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``field`` must equal one of ``values`` (at least one; no two are equal)."""

    field: str
    values: tuple[Scalar, ...]

    @property
    def operators(self) -> frozenset[Operator]:
        """What it takes: EQUALS for a value, IN for several, MISSING where None is among them."""
        present = {Operator.EQUALS} if set(self.values) - {None} else set()
        missing = {Operator.MISSING} if None in self.values else set()
        return frozenset(present | missing | ({Operator.IN} if len(self.values) > 1 else set()))


def parse_filter(spec: Mapping[str, object] | None) -> tuple[Condition, ...]:
    """The conditions of ``spec``, sorted by field; raises InvalidRecord for anything that is not the form above."""
    if spec is None:
        return ()
    if not isinstance(spec, Mapping) or not all(isinstance(field, str) for field in spec):
        raise InvalidRecord("filter", "it is no mapping of metadata keys", 'pass {"key": value, …}')
    return tuple(Condition(field=field, values=_values(field, spec[field])) for field in sorted(spec))


def _values(field: str, wanted: object) -> tuple[Scalar, ...]:
    if isinstance(wanted, Mapping):
        if set(wanted) != {"$in"} or not isinstance(wanted["$in"], (list, tuple)) or not wanted["$in"]:
            raise InvalidRecord(
                f"filter.{field}", f"{dict(wanted)!r} is not an operator", 'use a value or {"$in": [value, …]}'
            )
        return tuple(dict.fromkeys(_scalar(field, value) for value in wanted["$in"]))
    return (_scalar(field, wanted),)


def _scalar(field: str, value: object) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRecord(f"filter.{field}", f"{value!r} is not finite", "use a finite number")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InvalidRecord(
        f"filter.{field}", f"{type(value).__name__} is not a scalar", "use text, a number, a boolean or None"
    )
