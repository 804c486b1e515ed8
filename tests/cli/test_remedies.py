"""Every command that a text of the package names can be typed as it stands there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from vecferry.cli.main import COMMANDS, make_parser
from vecferry.cli.options import UsageError

ROOT = Path(__file__).resolve().parents[2]
ASIDE = {"tests", "benchmarks", "examples", "docs", ".venv", ".typing", "build", "dist"}
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ASIDE]
FILLED = "1"  # stands for whatever a text fills in: a name and a number at once

# A command in backticks inside a text, and a text that is nothing but a command (a suggested next step).
QUOTED = re.compile(r"`(vecferry [^`]*)`")
WHOLE = re.compile(r"vecferry [a-z]+( .*)?")


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module as they are printed; docstrings are not."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (inside | prose):
            yield node.value


def commands(source: str) -> set[str]:
    """Every command in the texts of ``source``."""
    found: set[str] = set()
    for text in texts(ast.parse(source)):
        found |= set(QUOTED.findall(text))
        if WHOLE.fullmatch(text):
            found.add(text)
    return found


def mistake(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Why ``command`` cannot be typed, or ""."""
    try:
        make_parser().parse_args(shlex.split(command)[1:])
    except UsageError as error:
        return f"{command}: {error}"
    return ""


def test_commands_are_found_and_judged(capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        '"""Docstring `vecferry nonsense`."""\n'
        'a = f"run `vecferry start {name} --new-run`, "\n'
        'b = "vecferry cutover products --to 5"\n'
        'c = "the tool vecferry does it"\n'
        'd = "run `vecferry doctor`"\n'
    )
    found = commands(source)
    assert found == {"vecferry start 1 --new-run", "vecferry cutover products --to 5", "vecferry doctor"}
    assert [bool(mistake(command, capsys)) for command in sorted(found)] == [False, True, False]
    assert mistake("vecferry start 1 --anew", capsys)
    assert mistake("vecferry restart 1", capsys)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_text_names_can_be_typed(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(module.read_text(encoding="utf-8"))
    # Commands that are put together piece by piece name no verb of their own.
    named = {command for command in found if command.split()[1] != FILLED}
    assert [why for command in sorted(named) if (why := mistake(command, capsys))] == []


@pytest.mark.parametrize(
    "module", [path for path in MODULES if path.parent.name != "cli"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_remedy_names_the_whole_command(module: Path) -> None:
    half = re.compile(rf"`(?:{'|'.join(COMMANDS)})(?: [^`]*)?`")
    shown = [text for text in texts(ast.parse(module.read_text(encoding="utf-8"))) if half.search(text)]
    assert shown == [], "`verb` alone cannot be typed: write `vecferry verb ARGUMENTS`"


# What nobody must be told to do for a migration's sake.
HARMFUL = re.compile(
    r"\bdelete (?:them|the rows?|those rows|the topic|topic)\b|\bempty (?:it|them|that table|the target)\b"
    r"|\bON DELETE CASCADE\b|\bDISABLE (?:ROW|TRIGGER)|\bdisable them\b|\bdrop (?:them|the constraint|the trigger)\b"
    r"|\bkeep one row\b",
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_tells_anybody_to_give_up_rows_or_protection(module: Path) -> None:
    said = texts(ast.parse(module.read_text(encoding="utf-8")))
    assert [text for text in said if HARMFUL.search(text)] == []


@pytest.mark.parametrize(
    "advice",
    [
        "some rows have no vector; delete them, or move them to a table of their own",
        "foreign key fk prevents deletes; make it ON DELETE CASCADE or SET NULL, or drop it",
        "it has triggers; disable them",
        "ALTER TABLE … DISABLE ROW LEVEL SECURITY",
    ],
)
def test_advice_that_harms_is_found(advice: str) -> None:
    assert HARMFUL.search(advice)
