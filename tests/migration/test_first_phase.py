"""From enrolment to a finished first phase and on to cutover, with real workers; killed anywhere, it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from migration_rig import NAME, Rig
from vecferry.backfill.progress import Progress
from vecferry.errors import Inconclusive, Refused
from vecferry.journal.migration import MigrationRecord
from vecferry.migration.cutover import move_reads
from vecferry.migration.gates import Verdict
from vecferry.migration.gather import gather
from vecferry.migration.plan import remaining_steps
from vecferry.migration.previewing import preview_start
from vecferry.migration.replaying import replay
from vecferry.migration.start import start
from vecferry.migration.status import summarise
from vecferry.migration.verifying import verify_replicas
from waiting import wait_until

SUPPORT = Path(__file__).parents[1] / "support"
ROWS = 230


def do_start(rig: Rig, *, timeout_s: float = 60.0) -> tuple[MigrationRecord, list[str], list[Progress]]:
    said: list[str] = []
    shown: list[Progress] = []
    with rig.steering() as (context, lease):
        record = start(context, lease, say=said.append, on_progress=shown.append, timeout_s=timeout_s)
    return record, said, shown


def rows_of(rig: Rig, store: str) -> set[str]:
    return {id_ for id_, entry in rig.stores[store].rows.items() if not entry.deleted}


@pytest.mark.server
def test_the_whole_way_to_the_new_store_and_back(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.context() as context:
        plan = preview_start(context)
        assert (plan.rows, plan.chunks, plan.run) == (ROWS, 5, None)
        assert plan.guarantees == {"old": "atomic", "new": "atomic"}
        assert len(plan.steps) == 4
    with rig.worker("old"), rig.worker("new"):
        rig.upsert("fresh", 1.0)
        wait_until(lambda: all("fresh" in rig.stores[name].rows for name in ("old", "new")))
        record, said, shown = do_start(rig)
        assert record.step == "indexed"
        assert said
        assert shown[-1].percent == 100.0
        assert rows_of(rig, "new") == rows_of(rig, "old")
        assert "fresh" in rows_of(rig, "new")
        again, said, _ = do_start(rig)
        assert (again, said) == (record, [])
        with rig.steering() as (context, lease):
            report, verified = verify_replicas(context, lease, sample=None, on_progress=shown.append)
            assert verified.clean, report.examples
            for percent in (5, 100, 0, 100):
                move = move_reads(context, lease, percent)
                assert move.verdict is Verdict.PASS, move.gates
            status = summarise(gather(context), rig.config.gates)
        assert (status.phase, status.percent, status.cutovers, status.rollbacks) == ("3 Cutover", 100, 3, 1)
        assert all(store.workers == 1 for store in status.stores)
        assert status.controller.startswith("test, process ")
        assert status.run is not None
        assert (status.run.state, status.run.rows) == ("closed", ROWS + 1)
        del rig.stores["new"].rows["id-00007"]
        with rig.steering() as (context, lease):
            _, damaged = verify_replicas(context, lease, sample=None, on_progress=shown.append)
            assert (damaged.missing, damaged.clean) == (1, False)


@pytest.mark.server
def test_start_without_a_worker_says_so_and_waits_no_longer_than_told(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    shown: list[Progress] = []
    with (
        rig.steering() as (context, lease),
        pytest.raises(Inconclusive, match="is one running"),
    ):
        start(context, lease, say=lambda line: None, on_progress=shown.append, timeout_s=0.5)
    assert shown[-1].note == "no worker of new has reported yet"
    with rig.context() as context:
        assert preview_start(context).steps[0] == "prepare new"
        assert preview_start(context).run == "r1"
    with rig.worker("old"), rig.worker("new"):
        record, _, _ = do_start(rig)
    assert (record.step, record.run) == ("indexed", "r1")


@pytest.mark.server
def test_verify_before_a_copy_is_refused(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with (
        rig.steering() as (context, lease),
        pytest.raises(Refused, match=f"vecferry start {NAME}"),
    ):
        verify_replicas(context, lease, sample=None, on_progress=lambda progress: None)


@pytest.mark.server
@pytest.mark.parametrize(
    "failpoint",
    ["start.target-prepared", "start.run-opened", "start.copying", "backfill.chunk-done:2", "start.copied"],
)
def test_a_killed_start_is_run_again_and_ends_the_same(kafka_bootstrap: str, failpoint: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    environment = {**os.environ, "VECFERRY_FAILPOINT": failpoint, "PYTHONPATH": str(SUPPORT)}
    script = [sys.executable, "-m", "start_process", kafka_bootstrap, rig.config.namespace, str(ROWS)]
    killed = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with rig.worker("old"), rig.worker("new"):
        record, _, _ = do_start(rig)
    assert (record.step, record.run) == ("indexed", "r1")
    assert rows_of(rig, "new") == rows_of(rig, "old")
    assert rig.stores["new"].complete == {0, 1, 2}


@pytest.mark.server
def test_a_closed_run_is_replayed_into_a_third_store(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
        opened = threading.Event()

        def work() -> None:
            assert opened.wait(60)
            with rig.worker("third"):
                assert done.wait(60)

        done = threading.Event()
        worker = threading.Thread(target=work)
        worker.start()

        def say(line: str) -> None:
            opened.set()  # the group has begun once waiting is announced; before that a worker refuses to run

        with rig.steering() as (context, lease):
            run = replay(context, lease, "r1", "third", say=say, on_progress=lambda progress: None, timeout_s=60)
        done.set()
        worker.join()
    assert run.targets == ("new", "third")
    assert rows_of(rig, "third") == rows_of(rig, "old")


def test_what_is_left_of_a_start_follows_from_the_journal() -> None:
    record = MigrationRecord(source="old", target="new", step="enrolled", started_unix_s=0.0)
    left = {
        step: len(remaining_steps(record.model_copy(update={"step": step}), None))
        for step in ("enrolled", "copying", "copied", "indexed")
    }
    assert left == {"enrolled": 4, "copying": 4, "copied": 1, "indexed": 0}
