"""A target whose table is lost: what it says of itself counts, and it begins again where its group did."""

from __future__ import annotations

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from memory_store import MemoryStore
from migration_rig import DIMENSION, NAME, PARTITIONS, Rig
from vecferry.errors import Inconclusive, Refused
from vecferry.log.kafka.clients import admin_config
from vecferry.migration.gates import Verdict, backfill_gate, lag_gate
from vecferry.migration.gather import gather
from vecferry.migration.replaying import preview_replay
from vecferry.migration.start import start
from waiting import wait_until

pytestmark = pytest.mark.server

ROWS = 40


def do_start(rig: Rig, *, new_run: bool = False, timeout_s: float = 60.0) -> None:
    with rig.steering() as (context, lease):
        start(
            context,
            lease,
            new_run=new_run,
            say=lambda line: None,
            on_progress=lambda progress: None,
            timeout_s=timeout_s,
        )


def lose_table(rig: Rig) -> MemoryStore:
    """An empty store in its place."""
    rig.stores["new"] = MemoryStore(rig.config.collection(NAME))
    return rig.stores["new"]


def test_the_gates_go_by_what_the_target_says_itself(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
        rig.upsert("later", 1.0)
        wait_until(lambda: "later" in rig.stores["new"].rows)
    with rig.context() as context:
        rig.report("new", rig.stores["new"].live)
        assert backfill_gate(gather(context)).verdict is Verdict.PASS
        lose_table(rig).create(complete=False)
        rig.report("new", dict(rig.stores["old"].live))  # its worker is idle, and goes by what it remembers
        facts = gather(context)
        assert (backfill_gate(facts).verdict, backfill_gate(facts).measured) == (
            Verdict.FAIL,
            f"complete in 0 of {PARTITIONS} partitions",
        )
        lag = lag_gate(facts, facts.target, rig.config.gates)
        assert (lag.verdict, lag.measured[:24]) == (Verdict.FAIL, "1 record: it had applied")


def cut_events(rig: Rig) -> None:
    """Retention passes everything that is in the live topic now."""
    ends = rig.admin.end_offsets(rig.events, PARTITIONS)
    client = AdminClient(admin_config(rig.config.kafka))
    wanted = [TopicPartition(rig.events, partition, end) for partition, end in enumerate(ends)]
    for future in client.delete_records(wanted).values():
        future.result()


def test_a_table_that_was_lost_begins_again_where_its_group_did(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.move("old", "third")
    rig.enrol()
    with rig.worker("old"):
        for number in range(12):
            rig.upsert(f"early-{number}", 1.0)
        wait_until(lambda: len(rig.stores["old"].rows) == ROWS + 12)
        cut_events(rig)
        rig.move("old", "new")
        rig.enrol()
        begun = dict(rig.stores["new"].live)
        assert sum(begun.values()) == 12  # what lies below is gone from the topic
        with rig.worker("new"):
            do_start(rig)
            rig.upsert("later", 1.0)
            wait_until(lambda: "later" in rig.stores["new"].rows)
        lost = lose_table(rig)
        with pytest.raises(Inconclusive):
            do_start(rig, new_run=True, timeout_s=0.1)  # nobody applies it yet
        assert lost.live == begun
        with rig.worker("new"):
            do_start(rig)
            wait_until(lambda: lost.rows.keys() == rig.stores["old"].rows.keys())
    assert lost.complete == set(range(PARTITIONS))


def test_a_target_that_holds_rows_of_its_own_is_refused_at_enrolment_and_before_a_replay(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.stores["new"].load(["id-00001"], np.ones((1, DIMENSION), np.float32), [b"{}"])
    with pytest.raises(Refused, match=f"store new holds 1 row .*; name another table in .*{NAME}.in.new.table"):
        rig.enrol()
    assert rig.admin.topics([rig.events]) == {}
    rig.stores["new"].rows.clear()
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
    rig.stores["third"].load(["id-00001"], np.ones((1, DIMENSION), np.float32), [b"{}"])
    with rig.context() as context, pytest.raises(Refused, match="store third holds 1 row"):
        preview_replay(context, "r1", "third")
