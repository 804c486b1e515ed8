"""What the documents say is true: links lead somewhere, the picture is the layout, what is imported is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, anchors, code_blocks, first_cells, section, text_of
from sources import imports, package_sources
from vecferry.schemas import topics

README = text_of("README.md")
DESIGN = text_of("docs/design.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    broken = []
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
        if "://" in path:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(f"{path}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(document: Path) -> None:
    folders = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name.isidentifier()))
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", document.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_document_is_in_the_index() -> None:
    index = text_of("docs/README.md")
    linked = {(ROOT / "docs" / path).resolve() for path in re.findall(r"\]\(([^)#\s]+)\)", index)}
    pages = {path for path in DOCUMENTS if path.parent.name != "decisions"}
    assert {str(path.relative_to(ROOT)) for path in pages - linked} <= {"docs/README.md"}


def boxes() -> set[str]:
    return set(re.findall(r"│ +([a-z]+) +│", code_blocks(DESIGN, "")[0]))


def test_every_box_of_the_picture_is_a_folder() -> None:
    assert len(boxes()) >= 8
    assert [box for box in boxes() if not (ROOT / box / "__init__.py").is_file()] == []


def test_every_folder_of_the_package_is_explained() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    explained = {re.sub(r"[^a-z]", "", cell.split("]")[0]) for cell in first_cells(section(DESIGN, "The picture"))}
    assert explained | {"log", "local"} == folders


def test_the_arrows_between_boxes_are_the_imports() -> None:
    """``a`` uses ``b``: the table says it exactly when a module of folder ``a`` imports one of folder ``b``."""
    known = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    found: dict[str, set[str]] = {folder: set() for folder in known}
    for source in package_sources():
        if source.part in known:
            found[source.part] |= {name.split(".")[1] for _, name in imports(source) if name.startswith("vecferry.")}
    table = re.findall(r"^\| `([a-z]+)` \| (.+) \|$", section(DESIGN, "Who imports whom"), re.MULTILINE)
    drawn = {folder: set(re.findall(r"`([a-z]+)`", used)) for folder, used in table}
    assert drawn == {folder: (used & known) - {folder} for folder, used in found.items()}


def test_every_topic_of_the_picture_and_the_code_is_explained() -> None:
    made = {
        topics.events_topic("<ns>", "<collection>"),
        topics.snapshot_topic("<ns>", "<collection>", "<run>"),
        topics.dlq_topic("<ns>", "<collection>"),
        topics.control_topic("<ns>"),
        topics.progress_topic("<ns>"),
    }
    assert {cell.strip("`") for cell in first_cells(section(DESIGN, "The arrows"))} == made
    drawn = set(re.findall(r"[═║] ?([a-z][a-z.<>]+)", code_blocks(DESIGN, "")[0]))
    assert drawn == {"events", "snapshot.<run>", "control", "progress", "dlq"}


def test_the_reader_finds_what_decides_staleness_in_one_step() -> None:
    opening = DESIGN.split("\n## ")[0]
    assert "Is this event stale?" in opening
    assert "(../consumers/ordering.py)" in opening


def test_ci_runs_what_the_readme_says() -> None:
    command = re.search(r"^(\./run test)\b", README, re.MULTILINE)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
