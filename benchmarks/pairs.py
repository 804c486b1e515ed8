"""A row of the results from rounds in which both sides took turns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any


def paired(
    name: str, ours: Sequence[float], baseline: Sequence[float], *, bound: float | None, unit: str
) -> dict[str, Any]:
    """Medians, of the ratio of each pair too: what runs beside them changes between rounds."""
    return {
        "name": name,
        "ours": median(ours),
        "baseline": median(baseline),
        "ratio": median(a / b for a, b in zip(ours, baseline, strict=True)),
        "bound": bound,
        "unit": unit,
    }
