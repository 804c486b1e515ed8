"""The report of a run: its names, what must be zero, and the exposure below which zeros mean nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Report = dict[str, Any]

# Dotted names; what is listed here must be there at all, too.
ZEROS = (
    "writes.failed",
    "reads.failed",
    "reads.stale",
    "verify.missing",
    "verify.extra",
    "verify.stale",
    "verify.corrupt",
    "lost",
    "resurrected",
    "regressed",
)
MINIMA: Mapping[str, float] = {
    "exposure.updated_during_backfill": 20,
    "exposure.deleted_during_backfill": 5,
    "exposure.stale_snapshot_rows_refused": 1,
    "exposure.redelivered": 1,
    "exposure.reads_by_route.old": 50,
    "exposure.reads_by_route.new": 50,
    "exposure.token_reads_share": 0.2,
    "exposure.polls": 10,
    "exposure.worker_kills": 1,
    "exposure.backfill_kills": 1,
    "writes.acknowledged": 100,
    "reads.total": 100,
    "cutovers": 5,
    "rollbacks": 1,
}
PROMISED = "Nothing lost, nothing resurrected, nothing stale, no failed read or write."


def empty() -> Report:
    """A report in which nothing has happened; what was never measured is None."""
    return {
        "exposure": {
            "updated_during_backfill": 0,
            "deleted_during_backfill": 0,
            "stale_snapshot_rows_refused": 0,
            "stale_snapshot_rows": {"stale": 0, "superseded": 0},
            "redelivered": 0,
            "reads_by_route": {"old": 0, "new": 0},
            "token_reads_share": 0.0,
            "polls": 0,
            "worker_kills": 0,
            "backfill_kills": 0,
        },
        "writes": {"acknowledged": 0, "failed": 0},
        "reads": {"total": 0, "failed": 0, "stale": 0},
        "backfill": {"rows": 0, "rows_per_s": 0.0},
        "verify": {"missing": None, "extra": None, "stale": None, "corrupt": None},
        "lost": None,
        "resurrected": None,
        "regressed": None,
        "cutovers": 0,
        "rollbacks": 0,
        "route_flip_p99_ms": None,
        "publish_call_p50_us": None,
        "seconds": 0.0,
    }


def value_of(report: Report, name: str) -> Any:
    """The value at a dotted name; None when it is not there."""
    value: Any = report
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def faults(report: Report) -> list[str]:
    """What must be zero and is not, or was never measured."""
    found = []
    for name in ZEROS:
        value = value_of(report, name)
        if value is None:
            found.append(f"{name} was not measured")
        elif value != 0:
            found.append(f"{name} is {value}, must be 0")
    return found


def shortfalls(report: Report) -> list[str]:
    """Where too little was exercised for the zeros to mean anything."""
    values = ((name, value_of(report, name), minimum) for name, minimum in MINIMA.items())
    return [
        f"{name} is {_text(value)}, must be at least {minimum:g}"
        for name, value, minimum in values
        if value is None or value < minimum
    ]


def findings(report: Report, problems: list[str]) -> list[str]:
    """Everything that is wrong, ``problems`` included, a line each; what matters most last, where one looks first."""
    too_little = [f"TOO LITTLE: {line}" for line in shortfalls(report)]
    return [*too_little, *problems, *(f"FAULT: {line}" for line in faults(report))]


def rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """(dotted name, value, requirement) of every figure, in order."""
    for name, value in _flat(report, ""):
        required = "0" if name in ZEROS else f">= {MINIMA[name]:g}" if name in MINIMA else ""
        yield name, _text(value), required


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of ``values`` do not exceed; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
