"""Which phase a migration is in, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.control import MigrationRecord, Route
from .facts import Facts
from .gates import BEAT_TIMEOUT_S, GateResult, Verdict, beat_age_s

NOT_ENROLLED = "0 Not enrolled"
DUAL_WRITE = "1 Dual write and backfill"
CUTOVER = "3 Cutover"

CANARY_PERCENTS = (1, 5, 25, 50, 100)


def phase_of(migration: MigrationRecord | None, route: Route | None) -> str:
    """The phase by the name that people know it by. A migration whose reads were moved once stays in cutover."""
    if migration is None or route is None:
        return NOT_ENROLLED
    return CUTOVER if migration.cutovers > 0 or route.percent > 0 else DUAL_WRITE


def next_steps(facts: Facts, gates: Sequence[GateResult]) -> tuple[str, ...]:
    """The commands to run next, most urgent first; () when there is nothing to do but watch."""
    name = facts.collection
    if facts.migration is None or facts.route is None:
        return (f"vecferry enrol {name}",)
    workers = tuple(
        f"vecferry worker --store {store}" for store in (facts.source, facts.target) if not _is_fed(facts, store)
    )
    if facts.migration.step != "indexed":
        return (*workers, f"vecferry start {name}")
    if workers:
        return workers
    if facts.route.percent == 100:
        return ()
    failed = {gate.name for gate in gates if gate.verdict is not Verdict.PASS}
    if failed == {"verification"}:
        return (f"vecferry verify {name}",)
    if failed:
        return (f"vecferry cutover {name} --to {_next_percent(facts.route.percent)} --dry-run",)
    return (f"vecferry cutover {name} --to {_next_percent(facts.route.percent)}",)


def _is_fed(facts: Facts, store: str) -> bool:
    age_s = beat_age_s(facts.live.get(store, {}), facts.now_unix_s)
    return age_s is not None and age_s <= BEAT_TIMEOUT_S


def _next_percent(percent: int) -> int:
    return next(step for step in CANARY_PERCENTS if step > percent)
