"""Moving reads: the gates decide, the route and the journal change together, and a kill leaves either both or none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from migration_facts import ready
from migration_rig import NAME, PARTITIONS, Rig
from vecferry.config import GatesSection
from vecferry.errors import ConfigError, Refused
from vecferry.migration.cutover import move_reads, plan_move, preview
from vecferry.migration.gates import Verdict
from vecferry.migration.state import read
from vecferry.schemas.control import (
    MigrationRecord,
    Route,
    RunRecord,
    VerifyRecord,
    migration_key,
    route_key,
    run_key,
    verify_key,
)

LIMITS = GatesSection()
SUPPORT = Path(__file__).parents[1] / "support"


def test_only_moves_towards_the_target_ask_for_every_gate() -> None:
    facts = ready()
    forward = plan_move(facts, 25, LIMITS)
    assert len(forward.gates) > 1
    assert (forward.after.percent, forward.after.generation, forward.moves) == (25, 2, True)
    assert facts.route is not None
    half = facts.route.model_copy(update={"percent": 50})
    back = plan_move(type(facts)(**{**_fields(facts), "route": half}), 10, LIMITS)
    assert [gate.name for gate in back.gates] == ["rollback ready"]
    same = plan_move(facts, 0, LIMITS)
    assert (same.moves, same.gates, same.verdict) == (False, (), Verdict.PASS)


def _fields(facts: object) -> dict[str, object]:
    return {name: getattr(facts, name) for name in type(facts).__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_percentage_and_a_route_are_needed() -> None:
    for percent in (-1, 101):
        with pytest.raises(ConfigError, match="0 to 100"):
            plan_move(ready(), percent, LIMITS)
    nothing = type(ready())(**{**_fields(ready()), "route": None})
    with pytest.raises(Refused, match="vecferry enrol products"):
        plan_move(nothing, 5, LIMITS)


def make_ready(rig: Rig) -> None:
    """The journal and the reports of a migration that was copied, applied and verified a moment ago."""
    rig.enrol()
    with rig.steering() as (context, lease):
        now_s = context.clock.unix_s()
        migration = read(context.control, migration_key(NAME), MigrationRecord)
        assert migration is not None
        run = RunRecord(
            run="r1",
            source="old",
            targets=("new",),
            state="closed",
            epoch=1,
            partitions=PARTITIONS,
            chunks=1,
            chunk_rows=10,
            estimated_rows=0,
            generation=1,
            created_unix_s=now_s - 5,
        )
        verified = VerifyRecord(
            source="old",
            target="new",
            finished_unix_s=now_s,
            complete=True,
            checked=0,
            missing=0,
            extra=0,
            stale=0,
            corrupt=0,
            undecided=0,
        )
        lease.write(
            {
                run_key(NAME, "r1"): run,
                verify_key(NAME): verified,
                migration_key(NAME): migration.model_copy(update={"step": "indexed", "run": "r1"}),
            }
        )
    report_both(rig)


def report_both(rig: Rig) -> None:
    for store in ("old", "new"):
        rig.report(store, dict.fromkeys(range(PARTITIONS), 0))


def route_and_journal(rig: Rig) -> tuple[int, int, int, int]:
    """Percent, generation, cutovers, rollbacks."""
    with rig.context() as context:
        route = read(context.control, route_key(NAME), Route)
        migration = read(context.control, migration_key(NAME), MigrationRecord)
        assert route is not None
        assert migration is not None
        return route.percent, route.generation, migration.cutovers, migration.rollbacks


@pytest.mark.server
def test_cutover_and_rollback_move_the_route_and_are_counted(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    make_ready(rig)
    with rig.context() as context:
        seen = preview(context, 25)
        assert (seen.verdict, seen.moves) == (Verdict.PASS, True), seen.gates
    assert route_and_journal(rig) == (0, 1, 0, 0)
    for percent, expected in ((25, (25, 2, 1, 0)), (100, (100, 3, 2, 0)), (100, (100, 3, 2, 0)), (0, (0, 4, 2, 1))):
        report_both(rig)
        with rig.steering() as (context, lease):
            move = move_reads(context, lease, percent)
            assert move.verdict is Verdict.PASS, move.gates
        assert route_and_journal(rig) == expected


@pytest.mark.server
def test_a_gate_that_fails_or_is_not_known_moves_nothing(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.steering() as (context, lease):
        assert move_reads(context, lease, 25).verdict is Verdict.FAIL  # nothing was copied
    assert route_and_journal(rig) == (0, 1, 0, 0)
    other = Rig(kafka_bootstrap)
    make_ready(other)
    with other.steering() as (context, lease):
        lease.write({verify_key(NAME): None})
        assert move_reads(context, lease, 25).verdict is Verdict.INCONCLUSIVE
    assert route_and_journal(other) == (0, 1, 0, 0)


@pytest.mark.server
def test_rollback_needs_only_the_old_store(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    make_ready(rig)
    with rig.steering() as (context, lease):
        move_reads(context, lease, 100)
        lease.write({verify_key(NAME): None, run_key(NAME, "r1"): None})
    rig.report("old", dict.fromkeys(range(PARTITIONS), 0))
    del rig.stores["new"]  # whoever opens it fails
    with rig.steering() as (context, lease):
        assert move_reads(context, lease, 0).verdict is Verdict.PASS
    assert route_and_journal(rig) == (0, 3, 1, 1)


@pytest.mark.server
@pytest.mark.parametrize(
    ("failpoint", "moved"), [("controller.leased", False), ("cutover.gated", False), ("cutover.written", True)]
)
def test_a_controller_killed_in_a_cutover_leaves_both_records_or_none(
    kafka_bootstrap: str, failpoint: str, moved: bool
) -> None:
    rig = Rig(kafka_bootstrap)
    make_ready(rig)
    environment = {**os.environ, "VECFERRY_FAILPOINT": failpoint, "PYTHONPATH": str(SUPPORT)}
    script = [sys.executable, "-m", "cutover_process", kafka_bootstrap, rig.config.namespace, "25"]
    killed = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert route_and_journal(rig) == ((25, 2, 1, 0) if moved else (0, 1, 0, 0))
    report_both(rig)
    with rig.steering() as (context, lease):  # its process is dead, so nobody waits for its lease
        assert move_reads(context, lease, 25).verdict is Verdict.PASS
    assert route_and_journal(rig) == (25, 2, 1, 0)
