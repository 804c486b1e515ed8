"""``./run`` itself, in a checkout of its own: what it lists, what it hands on, and what is missing in one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pace import DEMANDING, LONGEST_FIRST, TESTS, place
from sources import ROOT

TOOLS = ("bash", "cat", "cksum", "dirname", "env", "ln", "mkdir")
# Notes what it is asked to test, and does all else as the Python of these tests.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m pytest" ]; then echo "CI=$CI $*" >>asked; exit; fi
exec {python} "$@"
"""


class Checkout:
    """``run`` and what it reads; on the search path lie ``TOOLS`` and what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs = folder / "checkout", folder / "bin"
        self.environment = {"PATH": str(self.programs), "VECFERRY_HOME": str(folder / "home"), "HOME": str(folder)}
        for name in (
            "run",
            ".ci/run",
            "pyproject.toml",
        ):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.programs.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None, name
            (self.programs / name).symlink_to(found)

    def set_up(self) -> None:
        """As a first run leaves it."""
        self.program(self.root / ".venv" / "bin" / "python", PYTHON.format(python=sys.executable))
        made_from = subprocess.run(
            ["bash", "-c", "{ pwd -P; cat pyproject.toml; } | cksum"],
            cwd=self.root,
            capture_output=True,
            check=True,
        )
        (self.root / ".venv" / "vecferry.stamp").write_bytes(made_from.stdout)

    def program(self, path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def run(self, *arguments: str, script: str = "run", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / script, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def asked(self) -> list[str]:
        """The calls of pytest."""
        asked = self.root / "asked"
        return asked.read_text().splitlines() if asked.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def given() -> dict[str, str]:
    """Addresses, so that no server has to be started."""
    return {"VECFERRY_KAFKA": "127.0.0.1:1", "VECFERRY_POSTGRES": "postgresql://127.0.0.1:1/none"}


def test_it_lists_its_verbs(checkout: Checkout) -> None:
    listed = checkout.run()
    assert (listed.returncode, listed.stderr) == (0, "")
    verbs = set(re.findall(r"^\./run ([a-z]+)", listed.stdout, re.MULTILINE))
    assert verbs == {"demo", "test", "bench", "lint", "services", "clean", "help"}
    taken = set(
        re.findall(r"^    ([a-z]+)(?: \|[^)]*)?\)", (ROOT / "run").read_text().split("case", 1)[1], re.MULTILINE)
    )
    assert verbs <= taken
    assert checkout.run("help").stdout == listed.stdout
    documented = re.findall(
        r"`\./run ([a-z]+)", (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert set(documented) <= verbs


def test_an_unknown_verb_exits_2(checkout: Checkout) -> None:
    done = checkout.run("tset")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run: no verb 'tset'\n./run demo")


def test_a_missing_python_is_one_line(checkout: Checkout) -> None:
    checkout.program(checkout.programs / "python3", "#!/bin/sh\nexit 1\n")  # as an old one answers
    done = checkout.run("test", "quick")
    assert done.returncode == 1
    assert re.fullmatch(r"run: Python 3\.11 or newer is missing; install it \(apt install .*\)\n", done.stderr)


def test_a_missing_java_or_maven_is_one_line(checkout: Checkout) -> None:
    checkout.set_up()
    done = checkout.run("test")
    assert done.returncode == 1
    assert re.fullmatch(
        r"vecferry: Java 17 or newer is missing; install it \(.*\), or set VECFERRY_KAFKA .*\n", done.stderr
    )
    checkout.program(checkout.programs / "java", "#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    done = checkout.run("test")
    assert done.returncode == 1
    assert re.fullmatch(r"vecferry: Maven is missing; install it \(.*\), or set VECFERRY_KAFKA .*\n", done.stderr)
    assert checkout.asked() == []


def test_the_quick_tests_need_no_server(checkout: Checkout) -> None:
    checkout.set_up()
    assert checkout.run("test", "quick", "tests/schemas").returncode == 0
    (asked,) = checkout.asked()
    assert "not server and not slow" in asked
    assert asked.endswith(" tests/schemas")


def test_a_docker_engine_is_enough(checkout: Checkout) -> None:
    checkout.set_up()
    checkout.program(checkout.programs / "docker", "#!/bin/sh\necho 28.2.2\n")
    assert checkout.run("test").returncode == 0
    assert len(checkout.asked()) == 1


def test_ci_calls_the_command_of_the_readme_and_nothing_else(checkout: Checkout) -> None:
    command = re.search(r"^(\./run \S+) +# every test", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert command is not None
    assert command[1].split() == ["./run", "test"]
    checkout.set_up()
    assert checkout.run(*command[1].split()[1:], **given()).returncode == 0
    assert checkout.run(script=".ci/run", **given()).returncode == 0
    by_hand, by_ci = checkout.asked()
    assert by_ci == by_hand.replace("CI= ", "CI=true ", 1)
    assert "-m pytest --numprocesses 3" in by_ci
    assert not {"-k", "--deselect", "--ignore", "not"} & set(by_ci.split())


def test_the_files_that_begin_first_exist_and_the_longest_is_the_first() -> None:
    assert [name for name in LONGEST_FIRST if not (TESTS / name).exists()] == []
    files = sorted(TESTS.rglob("test_*.py"), key=place)
    assert files[0].name == "test_demo_sabotage.py"
    assert place(TESTS / "e2e" / "test_kills.py") < place(TESTS / "e2e" / "test_broker_kill.py")
    assert place(TESTS / "schemas" / "test_tokens.py") == len(LONGEST_FIRST)


@pytest.mark.slow
def test_what_takes_a_machine_for_itself_never_runs_beside_its_like(tmp_path: Path) -> None:
    """Pytest itself is asked: on a version that no longer listens, a whole run starves and fails in odd places."""
    names = [name if name.endswith(".py") else f"{name}/test_{letter}.py" for name in DEMANDING for letter in "ab"]
    for name in {*names, "schemas/test_c.py"}:
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os\ndef test():\n    assert 0, os.environ['PYTEST_XDIST_WORKER']\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("from pace import pytest_xdist_make_scheduler\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n2",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
        "-p",
        "no:cacheprovider",
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "support"), "CI": "false"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    where = dict(re.findall(r"FAILED tests/(\S+)::test - AssertionError: (gw\d)", done.stdout))
    assert where.keys() == {*names, "schemas/test_c.py"}, done.stdout
    assert len({where[name] for name in names}) == 1
    assert where["schemas/test_c.py"] != where[names[0]]
