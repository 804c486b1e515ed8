"""Copying anew: a further run when the first is done or was given up, killed anywhere; what is given up stays so."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from migration_rig import NAME, PARTITIONS, Rig
from vecferry.backfill.journal import read_runs
from vecferry.backfill.runs import open_run
from vecferry.backfill.sending import SnapshotSender
from vecferry.errors import Inconclusive, Refused
from vecferry.kafka.clients import admin_config
from vecferry.migration.cancel import cancel, plan_cancel
from vecferry.migration.cancel import preview as preview_cancel
from vecferry.migration.doctor import examine
from vecferry.migration.plan import preview
from vecferry.migration.replaying import replay
from vecferry.migration.start import open_run_context, start
from vecferry.migration.state import read
from vecferry.schemas.control import MigrationRecord, Route, RunRecord, migration_key, route_key
from vecferry.schemas.topics import snapshot_topic
from vecferry.stores.base import Chunk
from waiting import wait_until

SUPPORT = Path(__file__).parents[1] / "support"
ROWS = 40  # fits one chunk of the rig


def run_record(name: str, state: str, targets: tuple[str, ...] = ("new",)) -> RunRecord:
    return RunRecord.model_validate(
        {
            "run": name,
            "source": "old",
            "targets": targets,
            "state": state,
            "epoch": 1,
            "partitions": PARTITIONS,
            "chunks": 1,
            "chunk_rows": 50,
            "estimated_rows": ROWS,
            "generation": 1,
            "created_unix_s": 0.0,
        }
    )


def migration(step: str, run: str | None) -> MigrationRecord:
    return MigrationRecord.model_validate(
        {"source": "old", "target": "new", "step": step, "run": run, "started_unix_s": 0.0}
    )


@pytest.mark.parametrize(
    ("record", "runs", "given_up"),
    [
        (migration("copying", "r1"), {"r1": "copying"}, ["r1"]),
        (migration("copying", "r1"), {"r1": "closed"}, ["r1"]),  # copied, and the target has yet to apply it
        (migration("enrolled", None), {"r1": "copying"}, ["r1"]),  # its mover died before it could name it
        (migration("indexed", "r1"), {"r1": "closed", "r2": "copying"}, ["r2"]),
    ],
)
def test_what_is_under_way_can_be_given_up(record: MigrationRecord, runs: dict[str, str], given_up: list[str]) -> None:
    plan = plan_cancel(NAME, record, {name: run_record(name, state) for name, state in runs.items()})
    assert [run.run for run in plan.runs] == given_up
    assert (plan.migration.step, plan.migration.run) == ("enrolled", None)


@pytest.mark.parametrize(
    ("record", "runs", "remedy"),
    [
        (None, {}, f"vecferry enrol {NAME}"),
        (migration("enrolled", None), {}, f"vecferry start {NAME} --new-run"),
        (migration("enrolled", None), {"r1": "cancelled"}, f"vecferry start {NAME} --new-run"),
        (migration("indexed", "r1"), {"r1": "closed"}, f"vecferry start {NAME} --new-run"),
    ],
)
def test_what_is_done_can_not(record: MigrationRecord | None, runs: dict[str, str], remedy: str) -> None:
    with pytest.raises(Refused, match=remedy):
        plan_cancel(NAME, record, {name: run_record(name, state) for name, state in runs.items()})


def do_start(rig: Rig, *, new_run: bool = False, timeout_s: float = 60.0) -> MigrationRecord:
    with rig.steering() as (context, lease):
        return start(
            context,
            lease,
            new_run=new_run,
            say=lambda line: None,
            on_progress=lambda progress: None,
            timeout_s=timeout_s,
        )


def do_cancel(rig: Rig) -> None:
    with rig.steering() as (context, lease):
        cancel(context, lease)


def replayed(rig: Rig, run: str) -> None:
    """Replay ``run`` into the third store, whose worker starts once its group has begun."""
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        if begun.wait(60):
            with rig.worker("third"):
                assert done.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with rig.steering() as (context, lease):
            replay(
                context,
                lease,
                run,
                "third",
                say=lambda line: begun.set(),
                on_progress=lambda progress: None,
                timeout_s=60,
            )
    finally:
        done.set()
        worker.join(60)


def cut_live_topic(rig: Rig) -> None:
    """Retention passes everything that is in the live topic now."""
    ends = rig.admin.end_offsets(rig.events, PARTITIONS)
    wanted = [TopicPartition(rig.events, partition, end) for partition, end in enumerate(ends)]
    client = AdminClient(admin_config(rig.config.kafka))
    for future in client.delete_records(wanted).values():
        future.result()


def run_states(rig: Rig) -> dict[str, str]:
    with rig.context() as context:
        return {name: run.state for name, run in read_runs(context.control, NAME).items()}


@pytest.mark.server
def test_a_new_run_is_the_way_out_once_retention_has_passed_the_old_fences(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        assert do_start(rig).run == "r1"
        for number in range(20):
            rig.upsert(f"later-{number}", 1.0)
        wait_until(lambda: len(rig.stores["new"].rows) == len(rig.stores["old"].rows) == ROWS + 20)
        cut_live_topic(rig)
        with pytest.raises(Refused, match=f"has passed the fences .*`vecferry start {NAME} --new-run`"):
            replayed(rig, "r1")
        with rig.context() as context:
            plan = preview(context, new_run=True)
            assert (plan.run, plan.rows, len(plan.steps)) == (None, ROWS + 20, 4)
            assert preview(context).steps == ()
        assert (do_start(rig, new_run=True).run, do_start(rig).step) == ("r2", "indexed")
        replayed(rig, "r2")
    assert rig.stores["third"].rows.keys() == rig.stores["old"].rows.keys()
    assert rig.stores["third"].complete == set(range(PARTITIONS))


@pytest.mark.server
def test_a_target_that_lost_events_is_exchanged_for_another(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"):
        with rig.worker("new"):
            do_start(rig)
        for number in range(20):
            rig.upsert(f"later-{number}", 1.0)
        wait_until(lambda: len(rig.stores["old"].rows) == ROWS + 20)
        cut_live_topic(rig)
        checks = examine(rig.config, NAME, open_store=rig.stores.__getitem__)
        assert any(f"set migrations.{NAME}.to" in check.remedy for check in checks)
        rig.move("old", "third")
        rig.enrol()
        with rig.worker("third"):
            record = do_start(rig)
            assert (record.target, record.step, record.run) == ("third", "indexed", "r2")
    assert rig.stores["third"].rows.keys() == rig.stores["old"].rows.keys()
    assert rig.stores["third"].complete == set(range(PARTITIONS))
    with rig.context() as context:
        route = read(context.control, route_key(NAME), Route)
        assert route is not None
        assert (route.old, route.new, route.percent, route.generation) == ("old", "third", 0, 2)


@pytest.mark.server
@pytest.mark.parametrize("failpoint", ["start.copying", "backfill.planned", "start.run-opened", "backfill.closing"])
def test_a_killed_new_run_is_gone_on_with_by_a_plain_start(kafka_bootstrap: str, failpoint: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
        kill(rig, "new-run", failpoint)
        assert (do_start(rig).run, run_states(rig)) == ("r2", {"r1": "closed", "r2": "closed"})


@pytest.mark.server
def test_a_new_run_that_is_refused_changes_nothing(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        done = do_start(rig)
        rig.stores["old"].complete.clear()  # its table was lost
        with pytest.raises(Refused, match="old is not complete in partitions 0-2"):
            do_start(rig, new_run=True)
    with rig.context() as context:
        assert read(context.control, migration_key(NAME), MigrationRecord) == done


@pytest.mark.server
def test_a_run_under_way_is_finished_or_cancelled_before_a_new_one(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)  # nobody applies it
    with pytest.raises(Refused, match=f"run r1 of {NAME} is under way; .*`vecferry cancel {NAME}`"):
        do_start(rig, new_run=True)
    with rig.context() as context:
        assert [run.run for run in preview_cancel(context).runs] == ["r1"]
    assert run_states(rig) == {"r1": "closed"}
    do_cancel(rig)
    assert run_states(rig) == {"r1": "cancelled"}
    with pytest.raises(Refused, match="no run of products is under way"):
        do_cancel(rig)
    with rig.worker("old"), rig.worker("new"):
        assert do_start(rig).run == "r2"
    assert {run for run, _ in rig.stores["new"].applied().snapshots} == {"r2"}


@pytest.mark.server
@pytest.mark.parametrize(("failpoint", "written"), [("cancel.planned", False), ("cancel.written", True)])
def test_a_killed_cancel_leaves_both_records_or_none(kafka_bootstrap: str, failpoint: str, written: bool) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)
    kill(rig, "cancel", failpoint)
    with rig.context() as context:
        record = read(context.control, migration_key(NAME), MigrationRecord)
    assert record is not None
    expected = ({"r1": "cancelled"}, "enrolled", None) if written else ({"r1": "closed"}, "copying", "r1")
    assert (run_states(rig), record.step, record.run) == expected


@pytest.mark.server
def test_the_markers_of_a_cancelled_run_close_nothing(kafka_bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vecferry.worker")
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        with rig.steering() as (context, lease), open_run_context(context, lease) as run_context:
            run = open_run(run_context, ("new",))
        wait_until(lambda: "joined run(s) ['r1']" in caplog.text, 30, "the worker to read the run")
        # Its mover sleeps here; it is held for dead, and the run is given up.
        do_cancel(rig)
        topic = snapshot_topic(rig.config.namespace, NAME, "r1")
        wait_until(lambda: f"gave up {topic} [0-2]" in caplog.text, 30, "the worker to leave the run")
        sender = SnapshotSender(rig.config.kafka, topic, rig.config.collection(NAME), run)
        for rows in rig.stores["old"].scan(Chunk(lower=None, upper=None), 100):
            sender.send(0, rows)
        sender.acknowledged()
        sender.mark(0)
        sender.close_run()
        rig.upsert("fresh", 1.0)
        wait_until(lambda: "fresh" in rig.stores["new"].rows, 30, "the worker to go on")
        assert (rig.stores["new"].complete, rig.stores["new"].applied().snapshots) == (set(), {})
        assert do_start(rig).run == "r2"
    with rig.worker("new"):  # one that begins after it all leaves the run alone too
        rig.upsert("fresher", 1.0)
        wait_until(lambda: "fresher" in rig.stores["new"].rows, 30, "the worker to go on")
    assert {run for run, _ in rig.stores["new"].applied().snapshots} == {"r2"}


def kill(rig: Rig, verb: str, failpoint: str) -> None:
    environment = {**os.environ, "VECFERRY_FAILPOINT": failpoint, "PYTHONPATH": str(SUPPORT)}
    script = [sys.executable, "-m", "start_process", rig.config.kafka.bootstrap_servers, rig.config.namespace]
    killed = subprocess.run(
        [*script, str(ROWS), verb], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
