"""Which phase a migration is in, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..journal.migration import MigrationRecord
from ..journal.route import Route
from .facts import Facts
from .gates import BEAT_TIMEOUT_S, GateResult, Verdict, beat_age_s, decide

NOT_ENROLLED = "0 Not enrolled"
DUAL_WRITE = "1 Dual write and backfill"
CUTOVER = "3 Cutover"

CANARY_PERCENTS = (1, 5, 25, 50, 100)

# Gate to command, in the order in which they are worth mending; lag passes by itself while somebody watches.
_PAST = (
    ("retention", "doctor {}"),
    ("backfill", "start {}"),
    ("index", "start {}"),
    ("dead letters", "dlq list {}"),
    ("verification", "verify {}"),
)


def phase_of(migration: MigrationRecord | None, route: Route | None) -> str:
    """The phase by the name that people know it by. A migration whose reads were moved once stays in cutover."""
    if migration is None or route is None:
        return NOT_ENROLLED
    return CUTOVER if migration.cutovers > 0 or route.share(migration.target) > 0 else DUAL_WRITE


def next_steps(facts: Facts, gates: Sequence[GateResult]) -> tuple[str, ...]:
    """The commands to run next, most urgent first; () when there is nothing to do but watch."""
    name = facts.collection
    if facts.migration is None or facts.route is None:
        return (f"vecferry enrol {name}",)
    if any(gate.name == "retention" and gate.verdict is Verdict.FAIL for gate in gates):
        return (f"vecferry doctor {name}",)  # a worker would only refuse to skip what is gone
    workers = tuple(
        f"vecferry worker --store {store}"
        for store in dict.fromkeys(
            replica.store
            for replica in (facts.source, facts.target)
            if not _is_fed(facts, replica.name) and not facts.running_workers(replica, BEAT_TIMEOUT_S)
        )
    )
    if facts.migration.step != "indexed":
        return (*workers, f"vecferry start {name}")
    if workers:
        return workers
    if facts.percent == 100:
        return ()
    if decide(gates) is not Verdict.PASS:
        return steps_past(name, gates)
    return (f"vecferry cutover {name} --to {_next_percent(facts.percent)}",)


def steps_past(collection: str, gates: Sequence[GateResult]) -> tuple[str, ...]:
    """The command that looks at, or mends, the most basic of the ``gates`` that did not pass; () when all did."""
    closed = [gate.name for gate in gates if gate.verdict is not Verdict.PASS]
    for name, command in _PAST:
        if name in closed:
            return (f"vecferry {command.format(collection)}",)
    return (f"vecferry status {collection} --watch",) if closed else ()


def _is_fed(facts: Facts, store: str) -> bool:
    age_s = beat_age_s(facts.live.get(store, {}), facts.now_unix_s)
    return age_s is not None and age_s <= BEAT_TIMEOUT_S


def _next_percent(percent: int) -> int:
    return next(step for step in CANARY_PERCENTS if step > percent)
