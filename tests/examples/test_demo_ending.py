"""How a run of the demo ends: every finding, and last of all the sentence that they come to."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from demo_reports import good
from rich.console import Console
from vecferry.examples.demo.__main__ import conclude
from vecferry.examples.demo.options import Options, parse
from vecferry.proof.report import PROMISED, Report, empty, faults, shortfalls
from vecferry.proof.view import State, View

PROBLEM = "new: sku-1 is gone"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return replace(parse(["--sabotage", "drop-delete"]), report=tmp_path / "report.json")


def ending(
    capsys: pytest.CaptureFixture[str],
    options: Options,
    report: Report,
    problems: list[str],
    *,
    terminal: bool = False,
) -> tuple[int, list[str]]:
    """The exit code, and what was printed below the table."""
    colours: Literal["standard"] | None = "standard" if terminal else None
    view = View(State(), "demo", Console(file=sys.stdout, width=100, force_terminal=terminal, color_system=colours))
    code = conclude(options, view, report, problems)
    assert options.report is None or json.loads(options.report.read_text()) == report
    below = capsys.readouterr().out.rpartition("┘\n")[2]
    return code, below.splitlines()


def test_a_noticed_sabotage_is_said_last_and_apart(capsys: pytest.CaptureFixture[str], options: Options) -> None:
    report = good(lost=3, cutovers=0, rollbacks=0)
    assert ending(capsys, options, report, [PROBLEM]) == (
        1,
        [
            "TOO LITTLE: cutovers is 0, must be at least 5",
            "TOO LITTLE: rollbacks is 0, must be at least 1",
            PROBLEM,
            "FAULT: lost is 3, must be 0",
            "",
            "Sabotage drop-delete was noticed, as it must be.",
        ],
    )


def test_a_terminal_shows_it_bold(capsys: pytest.CaptureFixture[str], options: Options) -> None:
    lines = ending(capsys, options, good(lost=3), [], terminal=True)[1]
    assert lines[-1] == "\x1b[1mSabotage drop-delete was noticed, as it must be.\x1b[0m"
    assert [line for line in lines if "\x1b" in line] == lines[-1:]


@pytest.mark.parametrize(
    ("report", "code", "before"),
    [(good(), 0, PROMISED), (good(rollbacks=0), 1, "TOO LITTLE: rollbacks is 0, must be at least 1")],
    ids=["nothing found", "too little"],
)
def test_a_sabotage_that_goes_unnoticed_is_said_last_too(
    capsys: pytest.CaptureFixture[str], options: Options, report: Report, code: int, before: str
) -> None:
    expected = (code, [before, "", "Sabotage drop-delete was NOT noticed."])
    assert ending(capsys, options, report, []) == expected


def test_a_run_without_sabotage_ends_with_its_faults_or_the_promise(
    capsys: pytest.CaptureFixture[str], options: Options
) -> None:
    honest = replace(options, sabotage=None, report=None)
    assert ending(capsys, honest, good(), []) == (0, [PROMISED])
    code, lines = ending(capsys, honest, empty(), [PROBLEM])
    assert (code, len(lines)) == (1, len(shortfalls(empty())) + 1 + len(faults(empty())))
    assert lines[-1] == f"FAULT: {faults(empty())[-1]}"
