"""The command line from outside: exit codes, streams, JSON, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import lines_of, vecferry, write_config
from migration_rig import NAME, Rig
from vecferry.cli.main import COMMANDS, exit_code, main
from vecferry.errors import (
    ConfigError,
    DecodeError,
    Fatal,
    Inconclusive,
    InvalidRecord,
    NotDelivered,
    Refused,
    Transient,
    Unavailable,
    VecferryError,
)
from waiting import wait_until


def test_every_error_has_its_exit_code() -> None:
    expected = {
        ConfigError("x"): 2,
        Refused("x"): 3,
        Inconclusive("x"): 4,
        Unavailable("x"): 1,
        NotDelivered("x"): 1,
        DecodeError("x"): 1,
        InvalidRecord("f", "p", "r"): 1,
        Fatal("x"): 1,
        Transient("x"): 1,
        VecferryError("x"): 1,
    }
    assert {type(error): exit_code(error) for error in expected} == {
        type(error): code for error, code in expected.items()
    }


def test_every_command_explains_itself_and_takes_the_common_options(tmp_path: Path) -> None:
    listed = vecferry("--help", cwd=tmp_path)
    assert listed.returncode == 0
    for name in COMMANDS:
        assert f"\n    {name} " in listed.stdout, name
    shown = vecferry("cutover", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    for option in ("--config", "--output", "--dry-run", "--to"):
        assert option in shown.stdout
    assert vecferry("--version", cwd=tmp_path).stdout.startswith("vecferry 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("cutover", NAME),
        ("cutover", NAME, "--to", "101"),
        ("cutover", NAME, "--to", "half"),
        ("verify", NAME, "--sample", "2"),
        ("start", NAME, "--timeout", "0"),
        ("worker",),
        ("dlq", "show", NAME),
        ("status", NAME, "--output", "xml"),
    ],
)
def test_a_usage_error_exits_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: " in err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file; `vecferry init` writes one"),
        ("namespace = ", "vecferry.toml: "),
        ('namespace = "x"\n[kafka]\nbootstrap_serverz = "h:1"\n[collections]\n', "did you mean 'bootstrap_servers'?"),
    ],
)
def test_a_configuration_that_is_wrong_exits_2_in_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, expected: str
) -> None:
    path = tmp_path / "vecferry.toml"
    if content is not None:
        path.write_text(content)
    assert main(["status", NAME, "--config", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(line.startswith("vecferry: ") for line in lines_of(err))
    assert expected in err


def test_a_failure_that_may_pass_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def contended(*_: object) -> None:
        raise Transient("lancedb table 'products' in lance: Too many concurrent writers")

    monkeypatch.setattr(COMMANDS["init"], "run", contended)
    assert main(["init"]) == 1
    assert capsys.readouterr().err == (
        "vecferry: lancedb table 'products' in lance: Too many concurrent writers; "
        "this may pass: run the same command again\n"
    )


def test_an_unknown_exception_is_one_line_and_a_traceback_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(COMMANDS["init"], "run", broken)
    assert main(["init"]) == 1
    assert lines_of(capsys.readouterr().err) == [
        "vecferry: internal error: ZeroDivisionError: by zero; --debug shows where"
    ]
    assert main(["init", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_names_that_the_configuration_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(tmp_path, "127.0.0.1:1")
    for arguments, near in (
        (("status", "product"), f"did you mean '{NAME}'?"),
        (("worker", "--store", "nwe"), "'nwe' is not in the configuration"),
        (("replay", NAME, "--run", "r1", "--into", "nwe"), "did you mean 'new'?"),
    ):
        assert main([*arguments, "--config", str(tmp_path / "vecferry.toml")]) == 2
        assert near in capsys.readouterr().err


def test_the_environment_names_the_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECFERRY_CONFIG", "elsewhere.toml")
    assert main(["status", NAME]) == 2
    assert "elsewhere.toml: no such file" in capsys.readouterr().err
    assert main(["status", NAME, "--config", "third.toml"]) == 2
    assert "third.toml: no such file" in capsys.readouterr().err
    assert main(["dlq", "--config", "fourth.toml", "list", NAME]) == 2
    assert "fourth.toml: no such file" in capsys.readouterr().err


@pytest.mark.server
def test_what_is_not_enrolled_is_refused(tmp_path: Path, kafka_bootstrap: str) -> None:
    write_config(tmp_path, kafka_bootstrap)
    for command in (("status", NAME), ("start", NAME), ("cutover", NAME, "--to", "5"), ("dlq", "list", NAME)):
        done = vecferry(*command, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        (line,) = lines_of(done.stderr)
        assert f"vecferry enrol {NAME}" in line


@pytest.mark.server
def test_json_is_the_data_on_stdout_and_names_the_next_command(tmp_path: Path, kafka_bootstrap: str) -> None:
    write_config(tmp_path, kafka_bootstrap)
    enrolled = vecferry("enrol", NAME, "--output", "json", cwd=tmp_path)
    assert enrolled.returncode == 0, enrolled.stderr
    assert enrolled.stderr == ""
    assert json.loads(enrolled.stdout)["next_steps"][-1] == f"vecferry start {NAME}"
    documents = {}
    for command in (("status", NAME), ("doctor", NAME), ("plan", NAME), ("topics", NAME), ("dlq", "list", NAME)):
        done = vecferry(*command, "--output", "json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        documents[command[0]] = json.loads(done.stdout)
        assert documents[command[0]]["next_steps"]
    assert documents["status"]["status"]["phase"] == "1 Dual write and backfill"
    assert {check["verdict"] for check in documents["doctor"]["checks"]} == {"pass"}
    assert len(documents["topics"]["topics"]) == 4
    refused = vecferry("cutover", NAME, "--to", "5", "--dry-run", "--output", "json", cwd=tmp_path)
    assert refused.returncode == 3
    gates = json.loads(refused.stdout)["gates"]
    assert all(gate["measured"] for gate in gates)
    assert f"vecferry start {NAME}" in refused.stderr


@pytest.mark.server
def test_tables_go_to_stdout_and_the_next_command_to_stderr(tmp_path: Path, kafka_bootstrap: str) -> None:
    write_config(tmp_path, kafka_bootstrap)
    planned = vecferry("enrol", NAME, "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "STATEMENT" in planned.stdout
    assert "\x1b" not in planned.stdout
    assert lines_of(planned.stderr) == [f"next: vecferry enrol {NAME}"]


@pytest.mark.server
def test_a_worker_drains_on_sigterm_and_exits_0(tmp_path: Path, kafka_bootstrap: str) -> None:
    data = write_config(tmp_path, kafka_bootstrap)
    assert vecferry("enrol", NAME, cwd=tmp_path).returncode == 0
    rig = Rig(kafka_bootstrap, namespace=str(data["namespace"]))
    rig.upsert("a", 1.0)
    command = [sys.executable, "-m", "vecferry", "worker", "--store", "new", "--output", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        try:

            def applied() -> bool:
                assert worker.poll() is None, worker.communicate()[1]
                return sum(rig.admin.committed(f"{data['namespace']}.{NAME}.new", rig.events, 3).values()) == 1

            wait_until(applied, 60, "the worker to apply and commit")
            worker.send_signal(signal.SIGTERM)
            out, err = worker.communicate(timeout=60)
        finally:
            worker.kill()
    assert worker.returncode == 0, err
    assert json.loads(out)["drained"] is True


@pytest.mark.server
def test_an_interrupted_start_exits_130_and_gives_up_the_lease(tmp_path: Path, kafka_bootstrap: str) -> None:
    data = write_config(tmp_path, kafka_bootstrap)
    assert vecferry("enrol", NAME, cwd=tmp_path).returncode == 0
    command = [sys.executable, "-m", "vecferry", "start", NAME]
    # A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as start:
        signal.signal(signal.SIGINT, handler)
        assert start.stderr is not None
        said = iter(start.stderr.readline, "")
        assert any("waiting until new has applied" in line for line in said)
        second = vecferry("verify", NAME, cwd=tmp_path)
        start.send_signal(signal.SIGINT)
        rest = start.communicate(timeout=60)[1]
    assert start.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert second.returncode == 3
    assert f"process {start.pid}" in second.stderr
    rig = Rig(kafka_bootstrap, namespace=str(data["namespace"]))
    with rig.steering():
        pass  # nobody holds the lease any more
