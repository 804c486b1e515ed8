"""The wheel, installed where nothing of the checkout can be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from sources import ROOT
from vecferry.schemas.position import encode_position

pytestmark = pytest.mark.slow

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".typing", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
NO_PATH = "/nowhere"  # no compiler is found there, nor anything else
# What an application that only publishes may import without any store's client.
PRODUCER_SIDE = "import vecferry, vecferry.schemas, vecferry.log.kafka, vecferry.producers"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist, built from a copy whose folder name is not a Python name."""
    copy = tmp_path_factory.mktemp("build") / "vecferry-main.1"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", str(copy / "dist"), cwd=copy)
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", ".", cwd=copy, PATH=NO_PATH
    )
    return copy / "dist"


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds the wheel and what it needs, no extras."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(environment), cwd=environment)
    interpreter = environment / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--no-compile", str(wheel(built)))
    run(str(interpreter), *install, cwd=environment, PATH=NO_PATH)
    return interpreter


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run ``command`` away from the checkout and return what it printed; a failure shows all of it."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_its_data_and_no_tests(built: Path) -> None:
    names = set(zipfile.ZipFile(wheel(built)).namelist())
    schemas = {f"vecferry/schemas/{path.name}" for path in (ROOT / "schemas").glob("*.avsc")}
    assert schemas
    assert schemas | {"vecferry/py.typed", "vecferry/local/pom.xml", "vecferry/docker-compose.yml"} <= names
    assert {name.split("/")[1] for name in names} & {"tests", "benchmarks", "examples", "docs", ".ci"} == set()
    assert {name.split("/")[0] for name in names} == {"vecferry", "vecferry-0.1.0.dist-info"}


def test_one_wheel_serves_every_platform(built: Path) -> None:
    assert wheel(built).name == "vecferry-0.1.0-py3-none-any.whl"
    names = zipfile.ZipFile(wheel(built)).namelist()
    assert [name for name in names if name.endswith((".so", ".pyd", ".c", ".h"))] == []


def test_the_source_archive_holds_the_tests(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"tests/conftest.py", "tests/house/test_wheel.py", "run", ".ci/run", "LICENSE", "local/pom.xml"} <= names


def test_an_application_that_publishes_needs_no_store_client(python: Path, tmp_path: Path) -> None:
    # An application's own module called `schemas` must stay its own.
    (tmp_path / "schemas.py").write_text("OURS = False\n")
    program = f"{PRODUCER_SIDE}\nimport schemas\nprint(vecferry.__file__, schemas.OURS)"
    said = run(str(python), "-c", program, cwd=tmp_path)
    assert str(python.parents[1]) in said
    assert said.strip().endswith("False")
    missing = (
        "import importlib.util as u; print([n for n in ('psycopg', 'lancedb', 'pyarrow', 'rich') if u.find_spec(n)])"
    )
    assert run(str(python), "-c", missing, cwd=tmp_path).strip() == "[]"


PUBLISH = """
import sys
import numpy as np
from vecferry.producers import Publisher
from vecferry.schemas.collection import Collection, Space

collection = Collection(name="c", space=Space(model="m", version="1", dimension=2, metric="dot"), partitions=1)
with Publisher(collection, topic=sys.argv[2], producer_config={"bootstrap.servers": sys.argv[1]}) as publisher:
    publisher.upsert("a", np.ones(2)).result(timeout=30)
    print(publisher.upsert_many(["a", "b"], np.ones((2, 2))).result(timeout=30).position)
"""


@pytest.mark.server
def test_it_publishes_from_the_wheel(python: Path, kafka_bootstrap: str, tmp_path: Path) -> None:
    topic = f"wheel-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)
    said = run(str(python), "-c", PUBLISH, kafka_bootstrap, topic, cwd=tmp_path, PATH=NO_PATH)
    assert int(said) == encode_position(1, 2)


def test_the_command_line_runs_from_the_wheel(python: Path, built: Path, tmp_path: Path) -> None:
    run(str(python), "-m", "pip", "install", "--quiet", f"{wheel(built)}[cli]", cwd=tmp_path)
    command = python.with_name("vecferry")
    assert run(str(command), "--version", cwd=tmp_path).split()[-1] == "0.1.0"
    assert "cutover" in run(str(command), "--help", cwd=tmp_path)
    assert run(str(python), "-m", "vecferry", "--help", cwd=tmp_path) != ""
