"""Moving reads: the gates decide, the route and the journal change together, and a kill leaves either both or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from migration_facts import ready, report
from migration_rig import NAME, PARTITIONS, Rig
from vecferry.cli import cutover
from vecferry.cli.main import main
from vecferry.config import GatesSection
from vecferry.errors import ConfigError, Refused
from vecferry.journal.migration import MigrationRecord, VerifyRecord, migration_key, verify_key
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.journal.reading import require
from vecferry.journal.route import Route, between, route_key
from vecferry.journal.run import RunRecord, run_key
from vecferry.log.kafka.clients import admin_config
from vecferry.migration.cutover import move_reads, plan_move, preview_move
from vecferry.migration.gates import Verdict
from vecferry.schemas.topics import progress_topic
from waiting import wait_until

LIMITS = GatesSection()
SUPPORT = Path(__file__).parents[1] / "support"


def test_only_moves_towards_the_target_ask_for_every_gate() -> None:
    facts = ready()
    forward = plan_move(facts, 25, LIMITS)
    assert len(forward.gates) > 1
    assert (forward.after.weights, forward.after.generation, forward.moves) == ({"old": 75, "new": 25}, 2, True)
    assert facts.route is not None
    half = facts.route.model_copy(update={"weights": between("old", "new", 50)})
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


def test_a_route_that_names_another_replica_is_left_as_it_is() -> None:
    facts = ready()
    assert facts.route is not None
    three = facts.route.model_copy(update={"weights": {"old": 60, "new": 10, "third": 30}})
    with pytest.raises(Refused, match="reads of products go to third too"):
        plan_move(replace(facts, route=three), 25, LIMITS)


def make_ready(rig: Rig) -> None:
    """The journal and the reports of a migration that was copied, applied and verified a moment ago."""
    rig.enrol()
    with rig.steering() as (context, lease):
        now_s = context.clock.unix_s()
        migration = require(context.control, migration_key(NAME), MigrationRecord)
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
            run="r1",
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
    rig.hold_run("r1")
    report_both(rig)


def report_both(rig: Rig) -> None:
    for store in ("old", "new"):
        rig.report(store, dict.fromkeys(range(PARTITIONS), 0))


def route_and_journal(rig: Rig, *, checked: bool = True) -> tuple[int, int, int, int]:
    """Percent, generation, cutovers, rollbacks."""
    with rig.context(checked=checked) as context:
        route = require(context.control, route_key(NAME), Route)
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert route is not None
        assert migration is not None
        return route.share("new"), route.generation, migration.cutovers, migration.rollbacks


@pytest.mark.server
def test_cutover_and_rollback_move_the_route_and_are_counted(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    make_ready(rig)
    with rig.context() as context:
        seen = preview_move(context, 25)
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


def ready_with_reads_at(rig: Rig, percent: int) -> None:
    make_ready(rig)
    with rig.steering() as (context, lease):
        assert move_reads(context, lease, percent).verdict is Verdict.PASS
    report_both(rig)


def configure_events(rig: Rig, **values: str) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()]
    resource = ConfigResource(ResourceType.TOPIC, rig.events, incremental_configs=entries)
    client = AdminClient(admin_config(rig.config.kafka))
    client.incremental_alter_configs([resource])[resource].result()
    wait_until(lambda: values.items() <= rig.admin.topics([rig.events])[rig.events].settings.items())


def command(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command line on the rig's Kafka and stores."""
    monkeypatch.setattr(cutover, "config_of", lambda _: rig.config)
    monkeypatch.setattr("vecferry.backfill.context.open_replica", lambda config, name, replica: rig.stores[replica])
    return main([*arguments, "--config", str(tmp_path / "unread.toml")])


@pytest.mark.server
def test_what_is_wrong_with_the_topic_is_said_and_keeps_no_read_on_the_target(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(kafka_bootstrap)
    ready_with_reads_at(rig, 100)
    configure_events(rig, **{"retention.ms": "1", "retention.bytes": "1000"})
    rig.raise_partitions(PARTITIONS + 1)
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME, "--dry-run", "--output", "json") == 0
    shown = json.loads(capsys.readouterr().out)["route"]
    assert (shown["old"], shown["new"], shown["percent"], shown["generation"]) == ("old", "new", 100, 2)
    assert shown["weights"] == {"old": 0, "new": 100}
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME, "--dry-run") == 0
    assert "old 0 %, new 100 %" in capsys.readouterr().out
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME, "--dry-run") == 0
    report_both(rig)
    assert command(rig, tmp_path, monkeypatch, "cutover", NAME, "--to", "25") == 0
    assert route_and_journal(rig, checked=False) == (25, 3, 1, 1)
    report_both(rig)
    capsys.readouterr()
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vecferry: warning: ")]
    assert [line.split(": ")[2] for line in warnings] == ["topic retention", "partitions"]
    assert route_and_journal(rig, checked=False) == (0, 4, 1, 2)
    assert command(rig, tmp_path, monkeypatch, "cutover", NAME, "--to", "25") == 3
    assert "vecferry: topic retention: 0.0 h" in capsys.readouterr().err


@pytest.mark.server
def test_a_rollback_asks_of_the_configuration_that_it_names_the_source(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    ready_with_reads_at(rig, 100)
    rig.move("third", "new")
    with rig.context(checked=False) as context, pytest.raises(Refused, match='from = "old", to = "new"'):
        preview_move(context, 0)
    rig.move("old", "third")
    said: list[str] = []
    with rig.context(checked=False) as context:
        assert preview_move(context, 0, say=said.append).verdict is Verdict.PASS
        assert [line.split(": ")[0] for line in said] == ["migration"]
        with pytest.raises(Refused, match='from = "old", to = "new"'):
            preview_move(context, 100)


@pytest.mark.server
def test_a_rollback_wins_against_a_command_under_way_and_leaves_it_to_be_run_again(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(kafka_bootstrap)
    ready_with_reads_at(rig, 100)
    with rig.steering() as (_, verifying):
        assert command(rig, tmp_path, monkeypatch, "cutover", NAME, "--to", "100") == 3  # moves nothing: it waits
        assert command(rig, tmp_path, monkeypatch, "rollback", NAME) == 0
        assert route_and_journal(rig) == (0, 3, 1, 1)
        with pytest.raises(Refused, match=r"has taken over; .* run this command again"):
            verifying.write({verify_key(NAME): None})
    with rig.steering() as (context, _):  # and so it can
        assert require(context.control, verify_key(NAME), VerifyRecord) is not None


@pytest.mark.server
def test_a_forced_rollback_does_not_wait_for_a_source_that_is_behind_or_silent(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(kafka_bootstrap)
    ready_with_reads_at(rig, 100)
    record = LiveProgress(next_offset=0, complete=True, beat_unix_s=0.0)
    key = live_progress_key(NAME, "old", 1).encode()
    rig.produce(progress_topic(rig.config.namespace), key, record.encode(), 0)
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME) == 4
    assert f"vecferry rollback {NAME} --force" in capsys.readouterr().err
    assert command(rig, tmp_path, monkeypatch, "rollback", NAME, "--force") == 0
    assert "no worker of store old has reported" in capsys.readouterr().err
    assert route_and_journal(rig) == (0, 3, 1, 1)


def test_no_force_moves_reads_to_a_source_that_is_no_full_copy_or_forward() -> None:
    facts = ready()
    assert facts.route is not None
    silent = {**facts.live, "old": {0: report(100, age_s=60.0), 1: report(50, complete=False)}}
    behind = replace(facts, route=facts.route.model_copy(update={"weights": between("old", "new", 50)}), live=silent)
    assert plan_move(behind, 0, LIMITS, force=True).verdict is Verdict.FAIL
    assert plan_move(replace(behind, route=facts.route), 50, LIMITS, force=True).verdict is Verdict.FAIL


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
