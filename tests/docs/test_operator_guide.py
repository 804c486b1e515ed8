"""Verbs, flags, gates, exit codes and log lines that the operator's guide names are those of the code."""

from __future__ import annotations

import argparse
import ast
import re
import shlex

import pytest
from documents import DOCUMENTS, code_blocks, first_cells, section, text_of
from migration_facts import ready
from sources import package_sources
from vecferry.cli.init import TEMPLATE
from vecferry.cli.main import COMMANDS, DONE, FAILED, INCONCLUSIVE, INTERRUPTED, REFUSED, USAGE, make_parser
from vecferry.config import Config, GatesSection
from vecferry.migration.gates import cutover_gates
from vecferry.schemas.batch import Outcome

GUIDE = text_of("docs/operator.md")
VERBS = text_of("docs/operator/verbs.md")
ALARMS = text_of("docs/operator/alarms.md")


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    found = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*(flags(nested) for nested in action.choices.values()))
    return found - {"--help"}


COMMON = {"--config", "--output", "--debug"}


def test_every_verb_has_a_section() -> None:
    sections = re.findall(r"^## (.+)$", VERBS, re.MULTILINE)
    assert sorted(sections) == sorted(COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_flags_of_a_verb_are_those_of_its_section(verb: str) -> None:
    usages = re.findall(rf"`(vecferry {verb}\b[^`]*)`", section(VERBS, verb))
    own = flags(parsers()[verb]) - COMMON
    assert set(re.findall(r"--[a-z-]+", " ".join(usages))) - COMMON == own


def test_the_common_options_are_explained() -> None:
    options = re.findall(r"--[a-z]+", " ".join(first_cells(section(GUIDE, "Options of every command"))))
    assert set(options) == COMMON
    assert set(options) < flags(parsers()["status"])


def commands_of(text: str) -> list[str]:
    """Every command that the documents print: after a prompt, after ``next:``, or in backticks."""
    shown = re.findall(r"(?:^\$|^next:) (vecferry .+)$", text, re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return shown + re.findall(r"`(vecferry [^`]+)`", prose)


def test_commands_are_found_in_prose_and_in_output() -> None:
    output = "$ vecferry start products --new-run  # again\nnext: vecferry status products\n"
    text = f"Run `vecferry plan products`.\n```\n{output}```\n"
    assert [command.split()[1] for command in commands_of(text)] == ["start", "status", "plan"]
    assert len(commands_of(VERBS)) > 30


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_that_a_document_names_is_taken(document: object) -> None:
    text = document.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    for command in commands_of(text):
        words = shlex.split(command.partition("#")[0])[1:]
        verb, given = words[0], {word.partition("=")[0] for word in words if word.startswith("--")}
        assert verb in COMMANDS, command
        assert given <= flags(parsers()[verb]), command


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    named = {int(code) for code in first_cells(section(GUIDE, "Exit codes"))}
    assert named == {DONE, FAILED, USAGE, REFUSED, INCONCLUSIVE, INTERRUPTED}


def test_every_gate_of_a_cutover_has_a_row() -> None:
    gates = [result.name for result in cutover_gates(ready(), GatesSection())]
    named = [name.strip("`") for name in first_cells(section(ALARMS, "A cutover is refused"))]
    assert len(gates) == len(named) + 1  # one lag for each of the two stores
    assert list(dict.fromkeys(re.sub(r"^lag of .+", "lag of STORE", gate) for gate in gates)) == named


def test_every_outcome_is_explained() -> None:
    named = [cell.strip("`") for cell in first_cells(section(VERBS, "status"))]
    assert set(named) == {outcome.name.lower() for outcome in Outcome}


def test_every_line_of_a_worker_is_one_that_it_writes() -> None:
    said = " ".join(
        node.value
        for source in package_sources()
        if source.part in ("consumers", "journal", "kafka_contact", "kafka_errors", "log")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    lines = re.findall(r"`([^`]+)`", " ".join(first_cells(section(ALARMS, "What a worker says"))))
    fragments = [part.strip(" ()") for line in lines for part in line.split("…")]
    assert len(lines) > 8
    assert [part for part in fragments if part.rstrip("s") and part not in said] == []


def test_every_setting_that_a_document_names_exists() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for name, key in re.findall(r"`(gates|worker|backfill)\.(?!py`)([a-z_]+)`", text):
        model = Config.model_fields[name].annotation
        assert key in model.model_fields, f"{name}.{key}"  # type: ignore[union-attr]


def test_the_configuration_of_the_walkthrough_says_what_the_template_says() -> None:
    (block,) = code_blocks(text_of("docs/operator/walkthrough.md"), "toml")
    keys = re.findall(r"^([a-z_]+) =|^(\[.+?\])", block, re.MULTILINE)
    missing = [key or table for key, table in keys if (f"{key} =" if key else table) not in TEMPLATE]
    assert missing == []
