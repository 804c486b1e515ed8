"""Kafka, PostgreSQL or a target that is not there: one line that names it, and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import lines_of, vecferry, write_config
from migration_rig import NAME


@pytest.mark.slow
def test_an_absent_kafka_is_one_line(tmp_path: Path) -> None:
    write_config(tmp_path, "127.0.0.1:1")
    done = vecferry("status", NAME, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = lines_of(done.stderr)
    assert line.startswith("vecferry: Kafka at 127.0.0.1:1 does not answer")
    assert "correct kafka.bootstrap_servers" in line


@pytest.mark.server
def test_an_absent_postgresql_is_one_line(tmp_path: Path, kafka_bootstrap: str) -> None:
    write_config(tmp_path, kafka_bootstrap, old="postgresql://127.0.0.1:1/shop")
    done = vecferry("enrol", NAME, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = lines_of(done.stderr)
    assert "127.0.0.1" in line
    assert "Traceback" not in line


@pytest.mark.server
def test_an_absent_target_is_one_line(tmp_path: Path, kafka_bootstrap: str) -> None:
    (tmp_path / "new").write_text("a file where the store's folder should be")
    write_config(tmp_path, kafka_bootstrap)
    done = vecferry("enrol", NAME, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = lines_of(done.stderr)
    assert "in ./new: " in line
    assert "is not a directory; correct it" in line


@pytest.mark.server
def test_a_worker_without_its_target_ends_with_one_line(tmp_path: Path, kafka_bootstrap: str) -> None:
    write_config(tmp_path, kafka_bootstrap)
    assert vecferry("enrol", NAME, cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "new")
    empty = vecferry("worker", "--store", "new", cwd=tmp_path)
    (tmp_path / "new").write_text("a file where the store's folder should be")
    absent = vecferry("worker", "--store", "new", cwd=tmp_path)
    for done, code, said in (
        (empty, 3, "store 'new' has not been prepared"),
        (absent, 1, "in ./new: "),
    ):
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        (line,) = lines_of(done.stderr)
        assert said in line
