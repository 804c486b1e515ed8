"""Kafka and PostgreSQL from ``docker-compose.yml``, on a machine where a Docker engine answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from ..errors import Unavailable
from . import paths, process

COMPOSE_FILE = paths.CHECKOUT / "docker-compose.yml"
CONTAINER_PORTS = {"kafka": 9092, "postgres": 5432}
PORT_VARIABLES = {"kafka": "VECFERRY_KAFKA_PORT", "postgres": "VECFERRY_POSTGRES_PORT"}
PROBE_TIMEOUT_S = 10


def engine_answers() -> bool:
    """True when ``docker`` is installed and an engine behind it answers. Blocks up to 10 s."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        done = subprocess.run(
            [docker, "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # Some clients report an engine that is away on stderr and still exit with 0.
    return done.returncode == 0 and done.stdout.strip() != ""


def start_containers(kinds: Sequence[str], name: str | None = None) -> dict[str, str]:
    """Bring up the services ``kinds`` of the set ``name`` on free ports; their addresses. Blocks until healthy."""
    running = find_containers(name)
    absent = [kind for kind in kinds if kind not in running]
    if absent:
        done = _compose(name, ["up", "--detach", "--wait", *absent], port_environment())
        if done.returncode != 0:
            raise Unavailable(
                f"docker compose could not start {' and '.join(absent)}; "
                f"see it with `docker compose up`, or stop the engine: {done.stderr.strip()[-400:]}"
            )
        running = find_containers(name)
    return {kind: running[kind] for kind in kinds}


def find_containers(name: str | None = None) -> dict[str, str]:
    """The addresses of the running services of the set ``name``, by kind."""
    found = {}
    for kind, port in CONTAINER_PORTS.items():
        done = _compose(name, ["port", kind, str(port)], {})
        published = done.stdout.strip().rpartition(":")[2]
        if done.returncode == 0 and published.isdigit() and published != "0":
            found[kind] = address(kind, int(published))
    return found


def stop_containers(name: str | None = None) -> bool:
    """Remove the containers of the set ``name`` and keep their volumes; false when none ran."""
    if not find_containers(name):
        return False
    done = _compose(name, ["down"], {})
    if done.returncode != 0:
        raise Unavailable(f"docker compose could not stop the services: {done.stderr.strip()[-400:]}")
    return True


def remove_data(name: str | None = None) -> None:
    """Remove the containers and the volumes of the set ``name``; nothing happens when there are none."""
    done = _compose(name, ["down", "--volumes"], {})
    if done.returncode != 0:
        raise Unavailable(f"docker compose could not remove the volumes: {done.stderr.strip()[-400:]}")


def address(kind: str, port: int) -> str:
    """The address of a container's service, published at ``port`` of this machine."""
    if kind == "kafka":
        return f"127.0.0.1:{port}"
    return f"postgresql://postgres:vecferry@127.0.0.1:{port}/postgres"


def port_environment() -> dict[str, str]:
    """Free ports in the variables that ``docker-compose.yml`` reads. Kafka has to be told its port on the host."""
    return {variable: str(process.pick_port()) for variable in PORT_VARIABLES.values()}


def _compose(
    name: str | None, arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    # Compose wants lower case, and a letter or digit first.
    project = f"vecferry-{paths.set_name(name)}".lower().replace(".", "-")
    return subprocess.run(
        ["docker", "compose", "--project-name", project, "--file", str(COMPOSE_FILE), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
