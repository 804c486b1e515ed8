"""Reports of a run for tests of what is said about them."""

from __future__ import annotations

from vecferry.proof.report import MINIMA, ZEROS, Report, empty


def put(report: Report, name: str, value: float) -> None:
    """Set what stands at a dotted name, which must be there."""
    *path, last = name.split(".")
    for part in path:
        report = report[part]
    assert last in report
    report[last] = value


def good(**changed: float) -> Report:
    """A report that just passes, but for what is ``changed`` at its top."""
    report = empty()
    for name, value in (dict.fromkeys(ZEROS, 0) | dict(MINIMA) | changed).items():
        put(report, name, value)
    return report
