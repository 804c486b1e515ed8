"""The servers of a test session, from wherever this machine can have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from vecferry.local import docker, services


@contextmanager
def provided() -> Iterator[services.Addresses]:
    """Kafka and PostgreSQL for a test session: containers of its own where an engine answers, else shared processes."""
    given = {kind: os.environ.get(variable) for kind, variable in services.ADDRESS_VARIABLES.items()}
    engine = not all(given.values()) and docker.engine_answers()
    contained = [kind for kind, address in given.items() if services.choose(address, engine_answers=engine) == "docker"]
    if not contained:
        with services.use() as addresses:
            yield addresses
        return
    with containers(contained) as found:
        yield services.Addresses(**{kind: address or found[kind] for kind, address in given.items()})


@contextmanager
def containers(kinds: list[services.Kind]) -> Iterator[dict[str, str]]:
    """Containers of ``docker-compose.yml`` under a project of this process, removed with their data at the end."""
    from testcontainers.compose import DockerCompose  # late: its import is felt at the beginning of every run

    ports = docker.port_environment()
    with pytest.MonkeyPatch.context() as patch:
        # DockerCompose hands its surroundings on to `docker compose` and takes no variables of its own.
        for variable, value in {**ports, "COMPOSE_PROJECT_NAME": f"vecferry-tests-{os.getpid()}"}.items():
            patch.setenv(variable, value)
        compose = DockerCompose(docker.COMPOSE_FILE.parent, docker.COMPOSE_FILE.name, services=list(kinds), wait=True)
        with compose:
            found = {kind: compose.get_service_port(kind, docker.CONTAINER_PORTS[kind]) for kind in kinds}
            yield {kind: docker.address(kind, port) for kind, port in found.items() if port is not None}
