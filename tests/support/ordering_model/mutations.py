"""Every wrong rule that the check must catch: where it is planted, and the kinds of harm it must be seen to do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ordering_model.model import Scenario
from ordering_model.rules import REAL, Guard, Kind, Rules, Stamp, tried_in_order
from ordering_model.state import Budget
from vecferry.consumers.ordering import Absent, Deleted, Present, State, decide
from vecferry.schemas.batch import EventBatch, Op, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """``rules`` is wrong in the one way that ``name`` says; in ``scenario`` it does every harm of ``kinds``."""

    name: str
    rules: Rules
    kinds: frozenset[Kind]
    scenario: Scenario


def _also_equal(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    if not isinstance(state, Absent) and state.position == position:
        return decide(Absent(), op, position)
    return decide(state, op, position)


def _blind_live_writes(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    return decide(state if op is Op.SNAPSHOT else Absent(), op, position)


def _blind_snapshot_writes(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    return decide(Absent() if op is Op.SNAPSHOT else state, op, position)


def _insert_if_absent(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    if op is Op.SNAPSHOT:
        return (Outcome.STALE, state) if isinstance(state, Present) else decide(Absent(), op, position)
    return decide(state, op, position)


def _deletes_forgotten(state: State, op: Op, position: int) -> tuple[Outcome, State]:
    outcome, after = decide(state, op, position)
    return outcome, Absent() if isinstance(after, Deleted) else after


def _keeps_oldest(batch: EventBatch) -> list[int]:
    return [0]


def _keeps_newest_only(batch: EventBatch) -> list[int]:
    return tried_in_order(batch)[:1]


def _resume_at_committed(committed: int | None, applied: int | None) -> int | None:
    return committed


def _always(live_start: int, run_fence: int) -> bool:
    return True


def _below(live_start: int, run_fence: int) -> bool:
    return live_start < run_fence


FIRST = Scenario(name="first migration")
REDELIVERY = Scenario(name="first migration, redelivery", target=Budget(rewinds=1))
CRASH = Scenario(name="first migration, crash", source=Budget(crashes=1))
ZOMBIE = Scenario(name="first migration, zombie", target=Budget(zombies=1))
OFFSETS = Scenario(name="first migration, offsets tampered with", target=Budget(resets=1))
REPLAY = Scenario(name="replay into a further store", replay=True)
TWO_RUNS = Scenario(name="two runs, one replayed", replay=True, runs=2)
RESCAN = Scenario(name="chunk scanned twice, then replayed", replay=True, rescans=1)
LETTERS = Scenario(name="dead letter at the source, then replay", replay=True, letters=True)

LOST, GHOST, STALE = Kind.LOST_UPDATE, Kind.GHOST_ROW, Kind.STALE_OVERWRITE


def _mutation(name: str, scenario: Scenario, *kinds: Kind, **wrong: object) -> Mutation:
    rules = replace(REAL, **wrong)  # type: ignore[arg-type]
    return Mutation(name=name, rules=rules, kinds=frozenset(kinds), scenario=scenario)


MUTATIONS = (
    # the order itself
    _mutation("an equal position is applied again", REDELIVERY, Kind.APPLIED_TWICE, decide=_also_equal),
    _mutation("snapshot rows inserted if no row is there", FIRST, GHOST, decide=_insert_if_absent),
    _mutation("deletes are not remembered", FIRST, GHOST, decide=_deletes_forgotten),
    _mutation("live events written blindly", REDELIVERY, STALE, decide=_blind_live_writes),
    _mutation("snapshot rows written blindly", FIRST, STALE, GHOST, decide=_blind_snapshot_writes),
    # the store
    _mutation("the client compares, a zombie writes", ZOMBIE, STALE, guard=Guard.CHECK_THEN_WRITE),
    _mutation("row and ledger checked in two steps", ZOMBIE, GHOST, guard=Guard.ROW_AND_LEDGER_APART),
    _mutation("tombstones collected during the copy", FIRST, GHOST, tombstones_collected=True),
    _mutation("the live topic is compacted during the copy", FIRST, GHOST, topic_compacted=True),
    # the backfill
    _mutation("unstamped rows stamped at the topic's end", FIRST, LOST, stamp=Stamp.TOPIC_END),
    _mutation(
        "unstamped rows stamped at a fence taken after the scan",
        FIRST,
        LOST,
        stamp=Stamp.FENCE,
        chunk_order=("scan", "applied", "letters"),
    ),
    _mutation("the fence is taken after the scan", REPLAY, LOST, chunk_order=("scan", "applied", "letters")),
    _mutation("the fence of a repeated chunk is renewed", RESCAN, GHOST, keeps_lower_fence=False),
    _mutation(
        "the fence lies above an unresolved dead letter",
        LETTERS,
        LOST,
        GHOST,
        fence_offset=lambda applied, letter: applied,
    ),
    _mutation(
        "dead letters are listed before applied is read",
        LETTERS,
        LOST,
        GHOST,
        chunk_order=("letters", "applied", "scan"),
    ),
    # where groups start and resume
    _mutation(
        "a live group starts above the fence",
        REPLAY,
        LOST,
        GHOST,
        live_start=lambda fence, end: min(fence + 1, end),
        may_read_run=_always,
    ),
    _mutation(
        "a live group starts at the end", REPLAY, LOST, GHOST, live_start=lambda fence, end: end, may_read_run=_always
    ),
    _mutation("a store reads a run below its start", TWO_RUNS, GHOST, may_read_run=_always),
    _mutation("no store may read a run at its start", REPLAY, Kind.STUCK, may_read_run=_below),
    _mutation("a worker resumes at what the group committed", OFFSETS, LOST, resume_offset=_resume_at_committed),
    _mutation("a worker marks before it writes", CRASH, LOST, marks_after_write=False),
    # folding
    _mutation("a batch folds to its oldest event", FIRST, LOST, tried_in_order=_keeps_oldest),
    _mutation("a rejected event takes those beneath it along", LETTERS, LOST, tried_in_order=_keeps_newest_only),
)
