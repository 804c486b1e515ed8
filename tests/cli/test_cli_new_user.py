"""A new user follows the last line of each command; nobody is sent round in a circle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from command_line import write_config
from migration_rig import NAME, PARTITIONS
from vecferry.cli.main import main
from vecferry.clock import SYSTEM_CLOCK
from vecferry.log.memory.broker import Broker
from vecferry.log.memory.log import MemoryLog
from vecferry.log.topics import LIVE_TOPIC
from vecferry.schemas.topics import events_topic

Says = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def broker() -> Broker:
    """The log that all commands of a test share."""
    return Broker()


@pytest.fixture
def namespace(tmp_path: Path) -> str:
    """That of the configuration in ``tmp_path``: two LanceDB stores, and Kafka replaced by ``broker``."""
    return str(write_config(tmp_path, "memory")["namespace"])


@pytest.fixture
def says(
    tmp_path: Path,
    broker: Broker,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Says:
    """Run a command: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for module in ("doctor", "enrol", "status"):
        monkeypatch.setattr(f"vecferry.cli.{module}.log_of", lambda _: nullcontext(MemoryLog(broker, SYSTEM_CLOCK)))

    def run(command: str) -> tuple[int, str, str]:
        code = main(command.split()[1:])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("by_hand", [False, True], ids=["no topic yet", "a live topic made by hand"])
def test_who_follows_the_next_line_comes_from_doctor_to_the_first_worker(
    says: Says, broker: Broker, namespace: str, by_hand: bool
) -> None:
    if by_hand:
        MemoryLog(broker, SYSTEM_CLOCK).admin.create_topic(events_topic(namespace, NAME), PARTITIONS, LIVE_TOPIC)
    seen: list[str] = []
    command = f"vecferry doctor {NAME}"
    while not command.startswith("vecferry worker"):
        assert command not in seen, f"round in a circle: {seen}"
        seen.append(command)
        _, _, err = says(command)
        command = next(line.removeprefix("next: ") for line in err.splitlines() if line.startswith("next: "))
    assert seen == [
        f"vecferry {verb} {NAME}{rest}" for verb, rest in (("doctor", ""), ("enrol", " --dry-run"), ("enrol", ""))
    ]
    code, out, err = says(f"vecferry doctor {NAME}")
    assert code == 0, out + err


def test_doctor_does_not_send_anybody_to_enrol_who_has_named_no_migration(says: Says, tmp_path: Path) -> None:
    path = tmp_path / "vecferry.toml"
    path.write_text(path.read_text().partition("[migrations.")[0])
    code, _, err = says(f"vecferry doctor {NAME}")
    assert code == 3
    assert f"add [migrations.{NAME}] with from and to" in err
    assert err.splitlines()[-1] == f"next: vecferry doctor {NAME}"


def test_enrolling_again_does_not_ask_for_workers_that_may_be_running(says: Says) -> None:
    says(f"vecferry enrol {NAME}")
    code, _, err = says(f"vecferry enrol {NAME}")
    assert code == 0
    assert err.splitlines()[-1] == f"next: vecferry status {NAME}"
    assert "vecferry worker" not in err


def test_sql_for_the_owner_is_nothing_but_sql(says: Says) -> None:
    code, out, err = says(f"vecferry enrol {NAME} --sql")
    assert code == 0
    assert out.splitlines() == [f"-- store {store}: nothing is left to run" for store in ("old", "new")]
    assert err.splitlines()[-1] == f"next: vecferry enrol {NAME}"
