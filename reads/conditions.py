"""Whether the store that answers can meet the conditions of a filter. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidRecord
from ..schemas.filters import Condition, Operator


def check_operators(conditions: Sequence[Condition], known: frozenset[Operator]) -> None:
    """Raise InvalidRecord for a condition that a store with the operators ``known`` cannot meet."""
    for condition in conditions:
        if lacking := sorted(condition.operators - known):
            raise InvalidRecord(
                f"filter.{condition.field}",
                f"the store that answers cannot filter by {', '.join(lacking)}",
                f"use only {', '.join(sorted(known))}" if known else "search without a filter",
            )


def check_fields(conditions: Sequence[Condition], known: Sequence[str] | None, store: str) -> None:
    """Raise InvalidRecord for a key that ``store`` has no column for; ``known``: all that it has, None = any key."""
    if known is None:
        return
    for condition in conditions:
        if condition.field not in known:
            raise InvalidRecord(
                f"filter.{condition.field}",
                f"store {store!r} holds no such metadata",
                f"use one of {', '.join(sorted(known))}" if known else "search without a filter",
            )
