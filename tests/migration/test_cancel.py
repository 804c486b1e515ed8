"""Giving up: what is under way can be cancelled, wholly or not at all, and what is given up stays so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from migration_rig import NAME, PARTITIONS, Rig, log_of
from steering import do_cancel, do_start, kill, run_states
from vecferry.backfill.runs import open_run
from vecferry.backfill.sending import SnapshotSender
from vecferry.errors import Inconclusive, Refused
from vecferry.journal.migration import MigrationRecord, migration_key
from vecferry.journal.reading import require
from vecferry.journal.run import RunRecord
from vecferry.migration.cancel import plan_cancel, preview_cancellation
from vecferry.migration.cutover import move_reads
from vecferry.migration.gates import Verdict
from vecferry.migration.start import open_mover
from vecferry.migration.verifying import verify_replicas
from vecferry.schemas.topics import snapshot_topic
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


def migration(step: str, run: str | None, kept: str | None = None) -> MigrationRecord:
    record = MigrationRecord.model_validate(
        {"source": "old", "target": "new", "step": step, "run": run, "started_unix_s": 0.0}
    )
    return record.model_copy(update={"kept_run": kept, "kept_step": None if kept is None else "indexed"})


@pytest.mark.parametrize(
    ("record", "runs", "given_up", "after"),
    [
        (migration("copying", "r1"), {"r1": "copying"}, ["r1"], ("enrolled", None)),
        # copied, and the target has yet to apply it
        (migration("copying", "r1"), {"r1": "closed"}, ["r1"], ("enrolled", None)),
        # its mover died before it could name it
        (migration("enrolled", None), {"r1": "copying"}, ["r1"], ("enrolled", None)),
        (migration("indexed", "r1"), {"r1": "closed", "r2": "copying"}, ["r2"], ("indexed", "r1")),
        (migration("copying", "r2", kept="r1"), {"r1": "closed", "r2": "copying"}, ["r2"], ("indexed", "r1")),
        (migration("copying", "r2", kept="r1"), {"r2": "copying"}, ["r2"], ("enrolled", None)),
    ],
)
def test_what_is_under_way_can_be_given_up(
    record: MigrationRecord, runs: dict[str, str], given_up: list[str], after: tuple[str, str | None]
) -> None:
    plan = plan_cancel(NAME, record, {name: run_record(name, state) for name, state in runs.items()})
    assert [run.run for run in plan.runs] == given_up
    assert (plan.migration.step, plan.migration.run, plan.migration.kept_run) == (*after, None)


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


@pytest.mark.server
def test_a_run_under_way_is_finished_or_cancelled_before_a_new_one(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)  # nobody applies it
    with pytest.raises(Refused, match=f"run r1 of {NAME} is under way; .*`vecferry cancel {NAME}`"):
        do_start(rig, new_run=True)
    with rig.context() as context:
        assert [run.run for run in preview_cancellation(context).runs] == ["r1"]
    assert run_states(rig) == {"r1": "closed"}
    do_cancel(rig)
    assert run_states(rig) == {"r1": "cancelled"}
    with pytest.raises(Refused, match="no run of products is under way"):
        do_cancel(rig)
    with rig.worker("old"), rig.worker("new"):
        assert do_start(rig).run == "r2"
    assert {run for run, _ in rig.stores["new"].applied().snapshots} == {"r2"}


@pytest.mark.server
def test_a_new_run_that_is_given_up_leaves_the_copy_before_it_standing(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        done = do_start(rig)
    with pytest.raises(Inconclusive):
        do_start(rig, new_run=True, timeout_s=0.1)  # nobody applies it
    do_cancel(rig)
    with rig.worker("old"), rig.worker("new"):
        with rig.steering() as (context, lease):
            assert require(context.control, migration_key(NAME), MigrationRecord) == done
            _, verified = verify_replicas(context, lease, sample=None, on_progress=lambda progress: None)
        assert verified.clean
        with rig.steering() as (context, lease):
            move = move_reads(context, lease, 5)
            assert move.verdict is Verdict.PASS, move.gates


@pytest.mark.server
@pytest.mark.parametrize("verb", [do_start, do_cancel])
def test_what_changed_before_the_lease_was_taken_is_noticed_under_it(
    kafka_bootstrap: str, verb: Callable[[Rig], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.context() as context:
        before = require(context.control, migration_key(NAME), MigrationRecord)
    # Another controller enrols the collection for another target between the two looks.
    monkeypatch.setattr(rig, "context", partial(rig.context, checked=False))
    rig.move("old", "third")
    with pytest.raises(Refused, match="enrolled to move from old to new"):
        verb(rig)
    with rig.context() as context:
        assert require(context.control, migration_key(NAME), MigrationRecord) == before


@pytest.mark.server
@pytest.mark.parametrize(("failpoint", "written"), [("cancel.planned", False), ("cancel.written", True)])
def test_a_killed_cancel_leaves_both_records_or_none(kafka_bootstrap: str, failpoint: str, written: bool) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)
    kill(rig, "cancel", failpoint, ROWS)
    with rig.context() as context:
        record = require(context.control, migration_key(NAME), MigrationRecord)
    assert record is not None
    expected = ({"r1": "cancelled"}, "enrolled", None) if written else ({"r1": "closed"}, "copying", "r1")
    assert (run_states(rig), record.step, record.run) == expected


@pytest.mark.server
def test_the_markers_of_a_cancelled_run_close_nothing(kafka_bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vecferry.worker")
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with log_of(rig.config) as late, rig.worker("old"), rig.worker("new"):
        with rig.steering() as (context, lease), open_mover(context, lease) as mover:
            run = open_run(mover, ("new",))
        wait_until(lambda: "r1" in caplog.text, 30, "the worker to read the run")
        # Its mover sleeps here; it is held for dead, and the run is given up.
        do_cancel(rig)
        topic = snapshot_topic(rig.config.namespace, NAME, "r1")
        wait_until(lambda: f"gave up {topic} [0-2]" in caplog.text, 30, "the worker to leave the run")
        sender = SnapshotSender(late.sender(bulk=True), topic, rig.config.collection(NAME), run)
        (everything,) = rig.stores["old"].plan_chunks(1_000_000)
        for rows in rig.stores["old"].scan(everything, 100):
            sender.send(0, rows)
        sender.finish(0)
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
