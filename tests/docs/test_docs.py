"""What the documents say is true: links lead somewhere, commands exist, the picture is the layout, the README runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ferry import ferry
from vecferry.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = DOCUMENTS[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_every_box_of_the_picture_is_a_folder() -> None:
    picture = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("```")[1]
    boxes = re.findall(r"│ +([a-z]+) +│", picture)
    assert len(set(boxes)) >= 8
    assert [box for box in boxes if not (ROOT / box / "__init__.py").is_file()] == []


def test_every_command_of_the_documents_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    known = set(re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"(?:`|\$ )vecferry ([a-z]+)", text))
    named |= {verb.split()[0] for verb in re.findall(r"^\| `([a-z]+[^`]*)` \| ", text, re.MULTILINE)} & known
    assert named >= {"enrol", "start", "verify", "cutover", "rollback"}
    assert named <= known


def test_ci_runs_what_the_readme_says() -> None:
    command = re.search(r"^(\./run test)\b", README, re.MULTILINE)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]


@pytest.mark.server
def test_the_application_code_of_the_readme_runs_as_printed(
    tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with ferry(tmp_path, kafka_bootstrap, postgres_url, rows=20) as log:
        log.must("enrol", "products")
        log.spawn("worker", "--store", "old")
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0
    hit, stock = done.stdout.splitlines()
    assert "'sku-1'" in hit
    assert "A thing" in hit
    assert stock == "3"
