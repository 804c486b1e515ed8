"""``cutover`` and ``rollback``: move the read route, behind gates, journaled with it in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backfill.context import Context
from ..config import GatesSection
from ..errors import ConfigError, Refused
from ..failpoints import hit
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.route import Route, between, route_key
from .context import require_as_enrolled, require_source_as_enrolled
from .facts import Facts
from .gates import GateResult, Verdict, cutover_gates, decide, missing_partitions, rollback_gate
from .gather import gather
from .leaving import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of the route, planned or done. ``after`` equals ``before`` when reads already are where they should be."""

    source: str
    target: str
    gates: tuple[GateResult, ...]
    verdict: Verdict
    before: Route
    after: Route

    @property
    def moves(self) -> bool:
        """False when there is nothing to do."""
        return self.after != self.before


def plan_move(facts: Facts, percent: int, limits: GatesSection, *, force: bool = False) -> Move:
    """What moving reads to ``percent`` takes. Pure.

    Towards the target every gate counts; back towards the source only that the source is ready, and with ``force`` only
    that it is complete: each reader waits by itself until it has applied what that reader has seen. Raises ConfigError
    for a percentage outside 0 to 100 and Refused for a collection without a route.
    """
    if not 0 <= percent <= 100:
        raise ConfigError(f"{percent} is not a percentage; use 0 to 100")
    before = facts.route
    if before is None or facts.migration is None:
        raise Refused(f"collection {facts.collection!r} has no route; run `vecferry enrol {facts.collection}`")
    source, target = facts.source.name, facts.migration.target  # the configured target may be another one by now
    if before.share(source) + before.share(target) != 100:
        elsewhere = sorted(before.weights.keys() - {source, target})
        raise Refused(
            f"reads of {facts.collection} go to {', '.join(elsewhere)} too, which its migration does not name; "
            "use the version of vecferry that moved them there"
        )
    ends = {"source": source, "target": target}
    if percent == facts.percent:
        return Move(**ends, gates=(), verdict=Verdict.PASS, before=before, after=before)
    forward = percent > facts.percent
    gates = cutover_gates(facts, limits) if forward else (rollback_gate(facts, limits),)
    forced = force and not forward and not missing_partitions(facts)
    verdict = Verdict.PASS if forced else decide(gates)
    update = {
        "generation": before.generation + 1,
        "weights": between(source, target, percent),
        "changed_unix_s": facts.now_unix_s,
    }
    return Move(**ends, gates=gates, verdict=verdict, before=before, after=before.model_copy(update=update))


def moves_back(context: Context, percent: int) -> bool:
    """Whether a move to ``percent`` takes reads away from the target. Does not block. Raises Refused."""
    route = require(context.control, route_key(context.name), Route)
    return route is not None and percent < route.moved(context.source)


def preview_move(context: Context, percent: int, *, force: bool = False, say: Say = lambda line: None) -> Move:
    """The move and its gates as they are now; changes nothing. ``say`` and what it raises: as ``move_reads``."""
    _require_for_move(context, percent, say)
    return plan_move(gather(context, towards=percent), percent, context.config.gates, force=force)


def move_reads(
    context: Context, lease: Lease, percent: int, *, force: bool = False, say: Say = lambda line: None
) -> Move:
    """Move the route to ``percent`` if every gate passes; otherwise change nothing, and the verdict says why.

    ``say`` gets one line per problem of topic and target, which do not keep reads from going back to the source.
    Blocks for a few requests. Raises Refused when another controller has taken over, or for a collection that is not
    what was enrolled; Unavailable.
    """
    _require_for_move(context, percent, say)
    facts = gather(context, towards=percent)
    move = plan_move(facts, percent, context.config.gates, force=force)
    hit("cutover.gated")
    if move.verdict is not Verdict.PASS or not move.moves:
        return move
    assert facts.migration is not None  # plan_move refused otherwise
    moved_now = move.after.model_copy(update={"changed_unix_s": context.clock.unix_s()})  # facts took a while to gather
    move = replace(move, after=moved_now)
    lease.write(
        {
            route_key(context.name): move.after,
            migration_key(context.name): _counted(facts.migration, forward=percent > facts.percent),
        }
    )
    hit("cutover.written")
    return move


def _require_for_move(context: Context, percent: int, say: Say) -> None:
    if not moves_back(context, percent):
        require_as_enrolled(context)
        return
    for problem in require_source_as_enrolled(context):
        say(problem)


def _counted(migration: MigrationRecord, *, forward: bool) -> MigrationRecord:
    if forward:
        return migration.model_copy(update={"cutovers": migration.cutovers + 1})
    return migration.model_copy(update={"rollbacks": migration.rollbacks + 1})
