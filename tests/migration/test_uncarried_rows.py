"""Rows of the source that the log cannot carry: found before the copy, listed, and left behind only by choice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crew import REJECTED
from log_world import DIMENSION
from quiet_migration import QuietMigration
from vecferry.backfill.progress import Progress
from vecferry.compare.verdict import Difference, Fault
from vecferry.errors import Refused
from vecferry.journal.migration import MigrationRecord
from vecferry.journal.runs import read_runs
from vecferry.migration.outcome import RunOutcome, outcome_of
from vecferry.migration.start import start
from vecferry.migration.verifying import verify_replicas

GOOD = {f"id-{n}": b'{"price":%d}' % n for n in range(7)}
BAD = {"nan": b'{"price":NaN}', "twice": b'{"a":1,"a":2}', "huge": b'{"a":"%s"}' % (b"x" * 900_000)}


def migration(*, backfill: dict[str, object] | None = None) -> QuietMigration:
    made = QuietMigration({**GOOD, **BAD, "infinite": b"{}"}, backfill)
    rows = made.stores["old"].rows
    rows["infinite"] = replace(rows["infinite"], vector=np.full(DIMENSION, np.inf, np.float32))
    return made


def started(made: QuietMigration, file: Path | None = None, *, skip: bool = False) -> tuple[MigrationRecord, list[str]]:
    said: list[str] = []
    with made.steering() as (context, lease):
        record = start(
            context,
            lease,
            skip_uncarried=skip,
            uncarried_file=file,
            say=said.append,
            on_progress=lambda progress: None,
            timeout_s=60.0,
        )
    return record, said


def listed(file: Path) -> dict[str, str]:
    return {entry["id"]: entry["cause"] for entry in map(json.loads, file.read_text().splitlines())}


def outcome(made: QuietMigration) -> RunOutcome:
    with made.steering() as (context, _):
        return outcome_of(context, "r1", "new")


CAUSES = {
    "nan": "metadata holds NaN or infinity",
    "twice": "metadata holds a key twice",
    "huge": "larger than a message",
    "infinite": "vector is not finite",
}


def test_start_stops_before_it_copies_and_lists_every_row_that_cannot_be_copied(tmp_path: Path) -> None:
    made, file = migration(), tmp_path / "uncarried.jsonl"
    with pytest.raises(Refused) as refused:
        started(made, file)
    (line,) = refused.value.problems
    assert line.startswith("old holds 4 rows that cannot be copied: 1 x ")
    for text in (*CAUSES.values(), str(file), "--skip-uncarried", "publish those ids"):
        assert text in line
    assert listed(file) == CAUSES
    with made.steering() as (context, _):
        assert read_runs(context.control, context.name) == {}
    assert made.stores["new"].rows == {}


def test_rows_that_were_mended_are_copied_and_an_old_list_is_gone(tmp_path: Path) -> None:
    made, file = migration(), tmp_path / "uncarried.jsonl"
    with pytest.raises(Refused):
        started(made, file)
    for id_ in (*BAD, "infinite"):
        made.world.upsert(id_, 1.0)
    made.settle()
    record, _ = started(made, file)
    assert record.step == "indexed"
    assert not file.exists()
    assert set(made.stores["new"].rows) == {*GOOD, *BAD, "infinite"}
    assert outcome(made) == RunOutcome(run="r1", into="new", rows=11, skipped=0, dead_letters=0)


@pytest.mark.parametrize("how", ["option", "setting"])
def test_rows_that_cannot_be_copied_are_left_behind_by_choice_and_verify_lists_them(tmp_path: Path, how: str) -> None:
    made, file = migration(backfill={"uncarried": "skip"} if how == "setting" else None), tmp_path / "uncarried.jsonl"
    record, said = started(made, file, skip=how == "option")
    assert record.step == "indexed"
    assert any(f"leaving them behind; {file} lists them" in line for line in said)
    assert listed(file) == CAUSES
    assert set(made.stores["new"].rows) == set(GOOD)
    assert outcome(made) == RunOutcome(run="r1", into="new", rows=7, skipped=4, dead_letters=0)
    found: list[Difference] = []
    with made.steering() as (context, lease):
        report, verified = verify_replicas(
            context, lease, sample=None, on_progress=lambda progress: None, on_difference=found.append
        )
    assert {difference.id: difference.fault for difference in found} == dict.fromkeys(CAUSES, Fault.SKIPPED)
    assert (verified.clean, verified.skipped, report.missing) == (True, 4, 0)


def test_a_row_that_turns_bad_under_the_copy_stops_it_and_the_run_goes_on_without_it_by_choice() -> None:
    made = QuietMigration(GOOD)
    rows = made.stores["old"].rows

    def spoil(progress: Progress) -> None:
        if progress.phase == "copying":
            rows["id-6"] = replace(rows["id-6"], metadata=BAD["nan"])

    with made.steering() as (context, lease), pytest.raises(Refused, match="row 'id-6' of old cannot be copied"):
        start(context, lease, say=lambda line: None, on_progress=spoil, timeout_s=60.0)
    record, said = started(made, skip=True)
    assert (record.step, record.run) == ("indexed", "r1")
    assert "left 1 row of old behind that cannot be copied" in said
    assert outcome(made) == RunOutcome(run="r1", into="new", rows=6, skipped=1, dead_letters=0)
    assert set(made.stores["new"].rows) == set(GOOD) - {"id-6"}


def test_a_list_that_cannot_be_written_is_refused_before_the_copy(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"cannot be written \(No such file or directory\); name another file"):
        started(migration(), tmp_path / "absent" / "uncarried.jsonl")


def test_start_names_the_dead_letters_of_its_run_however_often_it_is_asked() -> None:
    made = QuietMigration({**GOOD, "refused": b"{}"})
    rows = made.stores["old"].rows
    rows["refused"] = replace(rows["refused"], vector=np.full(DIMENSION, REJECTED, np.float32))
    record, _ = started(made)
    again, _ = started(made)
    assert record == again
    assert outcome(made) == RunOutcome(run="r1", into="new", rows=8, skipped=0, dead_letters=1)
    assert set(made.stores["new"].rows) == set(GOOD)
