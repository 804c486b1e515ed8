"""The code of the README and of the developer's guide runs exactly as printed, and prints what stands behind it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import code_blocks, first_cells, section, text_of
from ferry import ferry
from vecferry import errors
from waiting import wait_until

GUIDE = code_blocks(text_of("docs/developer.md"), "python")
TEST_FILE = "# test_shop.py"


def expected_output(code: str) -> list[str]:
    """What stands behind each ``print``, and in comments of their own behind a loop; in the order of the page."""
    return re.findall(r"^(?:.*print\(.*\)  )?# (.+)$", code, re.MULTILINE)


def run_beside_a_worker(code: str, folder: Path, kafka: str, postgres: str) -> list[str]:
    """What ``code`` prints in a folder with the configuration of an enrolled collection, whose old store is fed."""
    with ferry(folder, kafka, postgres, rows=20) as log:
        log.must("enrol", "products")
        log.spawn("worker", "--store", "old")
        wait_until(lambda: "assigned" in log.log(), 60, "the worker to have its partitions")
        # Newer Pythons warn of every fork of a process that has threads.
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.server
def test_the_application_code_of_the_readme_runs_as_printed(
    tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    (code,) = code_blocks(text_of("README.md"), "python")
    hit, stock = run_beside_a_worker(code, tmp_path, kafka_bootstrap, postgres_url)
    assert "'sku-1'" in hit
    assert "A thing" in hit
    assert stock == "3"


@pytest.mark.server
def test_the_code_of_the_developers_guide_runs_as_printed(
    tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    code = "\n".join(block for block in GUIDE if not block.startswith(TEST_FILE))
    expected = expected_output(code)
    assert len(expected) > 10
    assert run_beside_a_worker(code, tmp_path, kafka_bootstrap, postgres_url) == expected


@pytest.mark.server
def test_the_test_of_the_developers_guide_passes(tmp_path: Path, kafka_bootstrap: str, postgres_url: str) -> None:
    (code,) = (block for block in GUIDE if block.startswith(TEST_FILE))
    (tmp_path / "test_shop.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        env={**os.environ, "VECFERRY_KAFKA": kafka_bootstrap, "VECFERRY_POSTGRES": postgres_url},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_error_of_the_guide_exists() -> None:
    named = {cell.strip("`") for cell in first_cells(section(text_of("docs/developer.md"), "Errors"))}
    assert named == {
        error.__name__
        for error in errors.VecferryError.__subclasses__()
        if error is not errors.DecodeError  # raised by workers only
        and error.__module__ == errors.__name__
    }
