"""Where the servers come from, with either answer of a Docker engine; no test here needs one."""

from __future__ import annotations

import json
import os
import re
import stat
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from services import containers
from sources import ROOT
from vecferry.errors import Unavailable
from vecferry.local import docker, services
from vecferry.local.__main__ import main as local_main
from vecferry.local.kafka import KAFKA_VERSION, POM, java_major, start_kafka
from vecferry.local.postgres import PGVECTOR_VERSION, POSTGRES_MAJOR

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``VECFERRY_HOME`` and no servers named by the environment."""
    monkeypatch.setenv("VECFERRY_HOME", str(tmp_path / "home"))
    for variable in services.ADDRESS_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "home"


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``docker`` whose engine answers; it notes its calls in the file that is returned."""
    calls, up = tmp_path / "calls", tmp_path / "up"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            echo "$@" >>"{calls}"
            row() {{
                echo '{{"Service":"'$1'","State":"running","ID":"'$1'","Publishers":[{{"URL":"127.0.0.1",'\\
                '"TargetPort":'$2',"PublishedPort":'$3',"Protocol":"tcp"}}]}}'
            }}
            case "$*" in
                info*) echo 28.2.2 ;;
                *" up "*) echo "$VECFERRY_KAFKA_PORT $VECFERRY_POSTGRES_PORT $COMPOSE_PROJECT_NAME" >"{up}" ;;
                *" down"*) rm -f "{up}" ;;
                *" port kafka 9092") read -r k p x <"{up}" && echo "127.0.0.1:$k" ;;
                *" port postgres 5432") read -r k p x <"{up}" && echo "127.0.0.1:$p" ;;
                *" ps "*) read -r k p x <"{up}"; row kafka 9092 "$k"; row postgres 5432 "$p" ;;
            esac
            """)
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


@pytest.mark.parametrize(
    ("address", "engine_answers", "source"),
    [
        ("127.0.0.1:9092", True, "address"),
        ("127.0.0.1:9092", False, "address"),
        (None, True, "docker"),
        (None, False, "process"),
        ("", True, "docker"),
        ("", False, "process"),
    ],
)
def test_choice(address: str | None, engine_answers: bool, source: str) -> None:
    assert services.choose(address, engine_answers=engine_answers) == source


def test_an_engine_that_answers_serves_both(home: Path, fake_docker: Path) -> None:
    addresses = services.start("tries")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", addresses.kafka)
    assert re.fullmatch(r"postgresql://postgres:vecferry@127\.0\.0\.1:\d+/postgres", addresses.postgres)
    assert services.start("tries") == addresses
    assert [(one.source, one.address) for one in services.status("tries")] == [
        ("docker", addresses.kafka),
        ("docker", addresses.postgres),
    ]
    calls = fake_docker.read_text().splitlines()
    ups = [call for call in calls if " up " in call]
    assert ups == [
        f"compose --project-name vecferry-tries --file {docker.COMPOSE_FILE} up --detach --wait kafka postgres"
    ]
    assert services.stop("tries") == ["kafka", "postgres"]
    assert [one.address for one in services.status("tries")] == [None, None]


def test_status_prints_addresses_that_can_be_used_as_they_stand(
    home: Path, fake_docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = services.start("tries")
    assert local_main(["status", "--name", "tries"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == [addresses.kafka, addresses.postgres]
    monkeypatch.setenv("VECFERRY_POSTGRES", "postgresql://me:secret@db.example/app")
    local_main(["status", "--name", "tries"])
    out = capsys.readouterr().out
    assert "postgresql://me@db.example/app (its password: $VECFERRY_POSTGRES)" in out
    assert "secret" not in out


def test_containers_serve_a_block_and_stop_after_it(home: Path, fake_docker: Path) -> None:
    with services.use("tries"):
        assert all(one.address for one in services.status("tries"))
    assert not any(one.address for one in services.status("tries"))


def test_an_address_wins_over_an_engine(home: Path, fake_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECFERRY_KAFKA", "kafka.example:9092")
    monkeypatch.setenv("VECFERRY_POSTGRES", "postgresql://me@db.example/app")
    addresses = services.start("tries")
    assert (addresses.kafka, addresses.postgres) == ("kafka.example:9092", "postgresql://me@db.example/app")
    assert not fake_docker.exists()


def test_the_fixtures_take_containers_of_their_own(home: Path, fake_docker: Path) -> None:
    with containers(["kafka", "postgres"]) as found:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", found["kafka"])
        assert found["postgres"].startswith("postgresql://postgres:vecferry@127.0.0.1:")
    calls = fake_docker.read_text()
    assert f"-f {docker.COMPOSE_FILE.name} up --wait kafka postgres" in calls
    assert "down --volumes" in calls


def test_an_engine_that_is_away_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    for script in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no engine >&2\n"):
        program.write_text(script)
        program.chmod(0o755)
        assert not docker.engine_answers()


def test_a_missing_piece_is_one_line_with_its_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"^Java 17 or newer is missing; install it .*VECFERRY_KAFKA.*$") as refused:
        start_kafka("tries")
    assert "\n" not in str(refused.value)


def test_an_old_java_and_a_missing_maven_are_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    for version, problem in (("1.8.0_402", "is Java 8, not 17"), ("21.0.1", "Maven is missing; install it")):
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        java.chmod(0o755)
        with pytest.raises(Unavailable, match=problem):
            start_kafka("tries")


@pytest.mark.parametrize(
    ("said", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("command not found", None),
    ],
)
def test_java_version(said: str, major: int | None) -> None:
    assert java_major(said) == major


def test_the_compose_file_follows_the_specification() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    assert list(validator.iter_errors(COMPOSE)) == []
    broken = {**COMPOSE, "services": {"kafka": {**COMPOSE["services"]["kafka"], "image": 4}}}
    assert list(validator.iter_errors(broken)) != []


def test_both_ways_run_the_same_versions() -> None:
    dependencies = ElementTree.parse(POM).iterfind(".//{*}dependencies/{*}dependency")
    resolved = {one.findtext("{*}artifactId"): one.findtext("{*}version") for one in dependencies}
    assert resolved["kafka_2.13"] == KAFKA_VERSION
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert COMPOSE["services"]["postgres"]["image"] == f"pgvector/pgvector:{PGVECTOR_VERSION}-pg{POSTGRES_MAJOR}"


def test_the_compose_file_listens_where_the_code_looks_and_only_here() -> None:
    published = {(kind, port) for kind, service in COMPOSE["services"].items() for port in service["ports"]}
    assert published == {
        (kind, f"127.0.0.1:${{{docker.PORT_VARIABLES[kind]}:-{port}}}:{port}")
        for kind, port in docker.CONTAINER_PORTS.items()
    }
