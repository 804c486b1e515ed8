"""Which verification the gate goes by: one that left rows open never stands for one that did not, and hides nothing."""

from __future__ import annotations

import pytest
from migration_facts import VERIFIED
from migration_rig import NAME, Rig
from vecferry.config import GatesSection
from vecferry.journal.migration import MigrationRecord, VerifyRecord, migration_key, verify_key
from vecferry.journal.reading import require
from vecferry.migration.gates import Verdict, verification_gate
from vecferry.migration.gather import gather
from vecferry.migration.start import start
from vecferry.migration.verifying import verify_replicas

FULL = VERIFIED
SAMPLE = VERIFIED.model_copy(update={"complete": False})
UNDECIDED = VERIFIED.model_copy(update={"undecided": 2})


def of_run(record: VerifyRecord, run: str) -> VerifyRecord:
    return record.model_copy(update={"run": run})


def faulty(record: VerifyRecord) -> VerifyRecord:
    return record.model_copy(update={"missing": 1})


@pytest.mark.parametrize(
    ("found", "known", "displaces"),
    [
        (FULL, None, True),
        (SAMPLE, None, True),
        (SAMPLE, SAMPLE, True),
        (SAMPLE, FULL, False),
        (SAMPLE, faulty(FULL), False),
        (SAMPLE, faulty(SAMPLE), False),
        (SAMPLE.model_copy(update={"undecided": 2}), FULL, False),
        (faulty(SAMPLE), FULL, True),
        (FULL, faulty(SAMPLE), True),
        (faulty(FULL), FULL, True),
        (SAMPLE, FULL.model_copy(update={"target": "third"}), True),
        (UNDECIDED, None, True),
        (UNDECIDED, UNDECIDED, True),
        (UNDECIDED, SAMPLE, True),
        (UNDECIDED, FULL, False),
        (UNDECIDED, faulty(FULL), False),
        (FULL, UNDECIDED, True),
        (faulty(UNDECIDED), FULL, True),
        # What was clean before the copy that stands now proves nothing; what was found before it may still be there.
        (of_run(UNDECIDED, "r2"), of_run(FULL, "r1"), True),
        (of_run(SAMPLE, "r2"), of_run(FULL, "r1"), True),
        (of_run(UNDECIDED, "r2"), FULL, True),
        (of_run(UNDECIDED, "r2"), of_run(FULL, "r2"), False),
        (of_run(UNDECIDED, "r2"), faulty(of_run(FULL, "r1")), False),
    ],
)
def test_what_stands_after_a_verification(found: VerifyRecord, known: VerifyRecord | None, displaces: bool) -> None:
    assert found.displaces(known) is displaces


def test_a_record_from_before_runs_were_noted_is_read() -> None:
    old = FULL.model_dump(exclude={"run"})
    assert VerifyRecord.model_validate(old).run == ""


@pytest.mark.server
def test_a_sample_closes_the_gate_but_never_opens_it(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=30)
    rig.enrol()

    def checked(sample: float | None) -> Verdict:
        with rig.steering() as (context, lease):
            verify_replicas(context, lease, sample=sample, on_progress=lambda progress: None)
            return verification_gate(gather(context), GatesSection()).verdict

    with rig.worker("old"), rig.worker("new"):
        with rig.steering() as (context, lease):
            start(context, lease, say=lambda line: None, on_progress=lambda progress: None, timeout_s=60)
        assert checked(0.9) is Verdict.INCONCLUSIVE
        assert checked(None) is Verdict.PASS
        assert checked(0.9) is Verdict.PASS
        held = rig.stores["new"].rows.pop("id-00007")
        assert checked(1.0) is Verdict.FAIL
        rig.stores["new"].rows["id-00007"] = held
        assert checked(1.0) is Verdict.FAIL
        assert checked(None) is Verdict.PASS
        with rig.context() as context:
            record = require(context.control, verify_key(NAME), VerifyRecord)
            migration = require(context.control, migration_key(NAME), MigrationRecord)
            assert record is not None
            assert migration is not None
            assert record.run == migration.run
