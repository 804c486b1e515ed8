"""Copying anew: a further run when the first is done or was given up, killed anywhere; what is given up stays so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from migration_rig import NAME, PARTITIONS, Rig, log_of
from steering import do_start, kill, run_states
from vecferry.errors import Inconclusive, Refused
from vecferry.journal.migration import MigrationRecord, migration_key
from vecferry.journal.progress import SnapshotProgress, snapshot_progress_key
from vecferry.journal.reading import require
from vecferry.journal.route import Route, route_key
from vecferry.journal.runs import read_runs
from vecferry.log.kafka.clients import admin_config
from vecferry.migration.doctor import examine
from vecferry.migration.previewing import preview_start
from vecferry.migration.replaying import replay
from vecferry.schemas.topics import progress_topic, snapshot_topic
from waiting import wait_until

SUPPORT = Path(__file__).parents[1] / "support"
ROWS = 40  # fits one chunk of the rig


def replayed(rig: Rig, run: str) -> None:
    """Replay ``run`` into the third store, whose worker starts once its group has begun."""
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        if begun.wait(60) and not done.is_set():
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
        begun.set()
        worker.join(60)


def cut_live_topic(rig: Rig) -> None:
    """Retention passes everything that is in the live topic now."""
    ends = rig.admin.end_offsets(rig.events, PARTITIONS)
    wanted = [TopicPartition(rig.events, partition, end) for partition, end in enumerate(ends)]
    client = AdminClient(admin_config(rig.config.kafka))
    for future in client.delete_records(wanted).values():
        future.result()


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
            plan = preview_start(context, new_run=True)
            assert (plan.run, plan.rows, len(plan.steps)) == (None, ROWS + 20, 4)
            assert preview_start(context).steps == ()
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
        with log_of(rig.config) as log:
            checks = examine(rig.config, NAME, log, open_store=rig.stores.__getitem__)
        assert any(f"set migrations.{NAME}.to" in check.remedy for check in checks)
        rig.move("old", "third")
        rig.enrol()
        with rig.worker("third"):
            record = do_start(rig)
            assert (record.target, record.step, record.run) == ("third", "indexed", "r2")
    assert rig.stores["third"].rows.keys() == rig.stores["old"].rows.keys()
    assert rig.stores["third"].complete == set(range(PARTITIONS))
    with rig.context() as context:
        route = require(context.control, route_key(NAME), Route)
        assert route is not None
        assert (route.weights, route.generation) == ({"old": 100, "third": 0}, 2)


@pytest.mark.server
@pytest.mark.parametrize("failpoint", ["start.copying", "backfill.planned", "start.run-opened", "backfill.closing"])
def test_a_killed_new_run_is_gone_on_with_by_a_plain_start(kafka_bootstrap: str, failpoint: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
        kill(rig, "new-run", failpoint, ROWS)
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
        assert require(context.control, migration_key(NAME), MigrationRecord) == done


@pytest.mark.server
def test_a_run_that_was_replaced_needs_its_topic_no_more(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)  # nobody applies it
    problem = SnapshotProgress(next_chunk=0, closed=False, problem="chunk 0 is missing")
    key = snapshot_progress_key(NAME, "new", "r1", 0).encode()
    rig.produce(progress_topic(rig.config.namespace), key, problem.encode(), 0)
    with pytest.raises(Inconclusive):
        do_start(rig, timeout_s=0.1)  # copies anew
    with rig.context() as context:
        runs = read_runs(context.control, NAME)
        assert {name: (run.state, run.targets) for name, run in runs.items()} == {
            "r1": ("closed", ()),
            "r2": ("closed", ("new",)),
        }
    topic = snapshot_topic(rig.config.namespace, NAME, "r1")
    client = AdminClient(admin_config(rig.config.kafka))
    client.delete_topics([topic])[topic].result()
    wait_until(lambda: topic not in rig.admin.topics([topic]))
    with rig.worker("old"), rig.worker("new"):
        assert (do_start(rig).run, len(rig.stores["new"].rows)) == ("r2", ROWS)
