"""What `verify`, `start` and `replay` say of what they found: examples of each kind, what mends it, where all is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from migration_facts import VERIFIED
from vecferry.backfill.verification import VerifyReport
from vecferry.cli.output import Console
from vecferry.cli.shown import letter_problems, run_facts
from vecferry.cli.verify import result_of
from vecferry.compare.verdict import Difference, Fault
from vecferry.migration.outcome import RunOutcome


def report_of(**found: int) -> VerifyReport:
    examples = [
        Difference(id=f"{fault}-{n}", fault=fault, source_position=7, target_position=None, reason="so it is")
        for fault in Fault
        for n in range(min(20, found.get(fault.value, 0)))
    ]
    kinds = {fault.value: found.get(fault.value, 0) for fault in Fault}
    return VerifyReport(
        checked=1_000, **kinds, complete=True, sample=None, seed=0, tolerance=0.0, seconds=1.0, examples=tuple(examples)
    )


def shown_of(report: VerifyReport, out: Path | None = None) -> tuple[str, str, int]:
    record = report.to_record("old", "new", 0.0)
    console = Console("table", io.StringIO(), io.StringIO())
    result = result_of("products", report, record, out)
    console.emit(result)
    return console.stdout.getvalue(), console.stderr.getvalue(), result.exit_code  # type: ignore[attr-defined]


def test_every_kind_has_examples_and_what_mends_it_beside_a_thousand_of_another() -> None:
    out, err, code = shown_of(report_of(missing=999, corrupt=1, skipped=3))
    assert code == 1
    assert [line.split()[1] for line in out.splitlines() if "so it is" in line] == [
        *["missing"] * 5,
        "corrupt",
        *["skipped"] * 3,
    ]
    ways = out[out.index("Ways out") :]
    assert [line.split()[0] for line in ways.splitlines()[2:]] == ["missing", "corrupt", "skipped"]
    assert "publish the id again: a write went past the log" in ways
    assert "--new-run" not in out + err
    assert "--out FILE lists all" in out
    assert "next: vecferry dlq list products\nnext: vecferry verify products --out differences.jsonl\n" in err


@pytest.mark.parametrize(
    ("found", "code", "steps"),
    [
        ({}, 0, ["vecferry status products"]),
        ({"skipped": 2}, 0, ["vecferry status products"]),
        ({"undecided": 2}, 4, ["vecferry verify products"]),
        ({"corrupt": 2}, 1, ["vecferry verify products"]),
        ({"extra": 1, "undecided": 1}, 1, ["vecferry verify products"]),
        ({"stale": 1}, 1, ["vecferry dlq list products", "vecferry verify products"]),
    ],
)
def test_the_next_command_is_one_that_helps(found: dict[str, int], code: int, steps: list[str]) -> None:
    _, err, exit_code = shown_of(report_of(**found), Path("all.jsonl"))
    assert exit_code == code
    assert [line.removeprefix("next: ") for line in err.splitlines() if line.startswith("next: ")] == steps


def test_a_run_with_dead_letters_is_a_problem_and_one_without_says_so() -> None:
    clean = RunOutcome(run="r1", into="new", rows=7, skipped=0, dead_letters=0)
    assert letter_problems("products", clean) == ()
    assert letter_problems("products", None) == ()
    assert run_facts("r1", clean) == {"run": "r1", "rows": 7, "dead letters": 0}
    (problem,) = letter_problems("products", RunOutcome(run="r1", into="new", rows=7, skipped=2, dead_letters=3))
    assert problem.startswith(
        "new could not take all rows of run r1: 3 dead letters; `vecferry dlq list products` says"
    )


def test_a_record_from_before_rows_were_skipped_is_read() -> None:
    assert type(VERIFIED).model_validate(VERIFIED.model_dump(exclude={"skipped"})) == VERIFIED
