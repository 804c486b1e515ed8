"""Which Kafka and PostgreSQL to use: an address that was given, containers, or processes of our own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from filelock import FileLock, Timeout

from . import docker, paths, process
from .kafka import check_kafka, find_kafka, start_kafka, stop_kafka
from .postgres import find_postgres, start_postgres, stop_postgres

Kind = Literal["kafka", "postgres"]
Source = Literal["address", "docker", "process"]
Say = Callable[[str], None]

KINDS: tuple[Kind, ...] = ("kafka", "postgres")
ADDRESS_VARIABLES: dict[Kind, str] = {"kafka": "VECFERRY_KAFKA", "postgres": "VECFERRY_POSTGRES"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where to reach a set of servers: Kafka's ``host:port`` list and a PostgreSQL URL with its password."""

    kafka: str
    postgres: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One server as it is now: ``address`` is ``None`` while it does not run, ``pid`` is known for our processes."""

    kind: Kind
    source: Source
    address: str | None
    pid: int | None


def choose(address: str | None, *, engine_answers: bool) -> Source:
    """Where one server comes from: a given address wins, then a Docker engine, then a process of our own."""
    if address:
        return "address"
    return "docker" if engine_answers else "process"


def check(name: str | None = None, *, environ: Mapping[str, str] = os.environ) -> None:
    """Raise ``Unavailable``, in one line with the remedy, when :func:`start` would miss a program. Starts nothing."""
    if _sources(environ)["kafka"] == "process":
        check_kafka(name)


def start(
    name: str | None = None, *, say: Say = lambda _line: None, environ: Mapping[str, str] = os.environ
) -> Addresses:
    """Have Kafka and PostgreSQL running, and keep them until :func:`stop`. Blocks until both answer.

    ``name`` tells sets of servers apart; ``None`` is the set of this checkout. ``VECFERRY_KAFKA`` and
    ``VECFERRY_POSTGRES`` in ``environ`` are handed back as they are. Raises ``Unavailable`` with the remedy.
    """
    directory = paths.services_dir(name)
    with process.lock(directory):
        _borrowed(directory).unlink(missing_ok=True)
        return _start(name, say, environ)


def stop(name: str | None = None) -> list[Kind]:
    """Stop what :func:`start` or :func:`use` started in the set ``name``; the data stays. Blocks until it ended."""
    directory = paths.services_dir(name)
    with process.lock(directory):
        _borrowed(directory).unlink(missing_ok=True)
        return _stop(name)


def clean(name: str | None = None) -> None:
    """Stop the servers of the set ``name`` and delete their data; what was downloaded stays."""
    directory = paths.services_dir(name)
    stop(name)
    if docker.engine_answers():
        docker.remove_data(name)
    shutil.rmtree(directory)


def status(name: str | None = None, *, environ: Mapping[str, str] = os.environ) -> list[Status]:
    """Kafka and PostgreSQL as they are now. Starts nothing; blocks up to some seconds where Docker is slow."""
    sources = _sources(environ)
    containers = docker.find_containers(name) if "docker" in sources.values() else {}
    return [_status_of(kind, source, name, containers, environ) for kind, source in sources.items()]


@contextmanager
def use(
    name: str | None = None, *, say: Say = lambda _line: None, environ: Mapping[str, str] = os.environ
) -> Iterator[Addresses]:
    """Kafka and PostgreSQL for the length of a ``with`` block, shared with whoever else uses the set ``name``.

    Servers that ran before stay; those that a user started are stopped by the last user to leave. A user that is
    killed counts as gone, because what says that it is there is a file lock.
    """
    directory = paths.services_dir(name)
    lease = FileLock(_leases(directory) / f"{uuid.uuid4().hex}.lease")
    with process.lock(directory):
        lease.acquire()
        if all(one.address is None or one.source == "address" for one in status(name, environ=environ)):
            _borrowed(directory).touch()
        try:
            addresses = _start(name, say, environ)
        except BaseException:
            _leave(lease)
            raise
    try:
        yield addresses
    finally:
        with process.lock(directory):
            _leave(lease)
            if _borrowed(directory).exists() and not _others_hold(directory):
                _borrowed(directory).unlink()
                _stop(name)


def _sources(environ: Mapping[str, str]) -> dict[Kind, Source]:
    given = {kind: environ.get(variable) for kind, variable in ADDRESS_VARIABLES.items()}
    # Asking an engine takes time; nobody needs the answer when both addresses are given.
    answers = not all(given.values()) and docker.engine_answers()
    return {kind: choose(given[kind], engine_answers=answers) for kind in KINDS}


def _start(name: str | None, say: Say, environ: Mapping[str, str]) -> Addresses:
    sources = _sources(environ)
    contained = [kind for kind, source in sources.items() if source == "docker"]
    if contained:
        say(f"docker compose: {' and '.join(contained)}")
    containers = docker.start_containers(contained, name) if contained else {}

    def address(kind: Kind) -> str:
        match sources[kind]:
            case "address":
                return environ[ADDRESS_VARIABLES[kind]]
            case "docker":
                return containers[kind]
            case "process":
                return start_kafka(name, say=say).bootstrap if kind == "kafka" else start_postgres(name, say=say).url
            case source:
                assert_never(source)

    # Side by side, because each waits for its server most of the time.
    with ThreadPoolExecutor(len(KINDS)) as pool:
        kafka, postgres = pool.map(address, KINDS)
    return Addresses(kafka=kafka, postgres=postgres)


def _stop(name: str | None) -> list[Kind]:
    stopped: list[Kind] = []
    if docker.engine_answers() and docker.stop_containers(name):
        stopped += KINDS
    if stop_kafka(name):
        stopped.append("kafka")
    if stop_postgres(name):
        stopped.append("postgres")
    return stopped


def _status_of(
    kind: Kind, source: Source, name: str | None, containers: Mapping[str, str], environ: Mapping[str, str]
) -> Status:
    match source:
        case "address":
            return Status(kind=kind, source=source, address=environ[ADDRESS_VARIABLES[kind]], pid=None)
        case "docker":
            return Status(kind=kind, source=source, address=containers.get(kind), pid=None)
        case "process":
            address, pid = _find_process(kind, name)
            return Status(kind=kind, source=source, address=address, pid=pid)
        case _:
            assert_never(source)


def _find_process(kind: Kind, name: str | None) -> tuple[str | None, int | None]:
    if kind == "kafka":
        kafka = find_kafka(name)
        return (None, None) if kafka is None else (kafka.bootstrap, kafka.pid)
    postgres = find_postgres(name)
    return (None, None) if postgres is None else (postgres.url, postgres.pid)


def _leases(directory: Path) -> Path:
    folder = directory / "leases"
    folder.mkdir(exist_ok=True)
    return folder


def _borrowed(directory: Path) -> Path:
    """The mark of servers that run only for their users."""
    return directory / "borrowed"


def _leave(lease: FileLock) -> None:
    lease.release()
    Path(lease.lock_file).unlink(missing_ok=True)


def _others_hold(directory: Path) -> bool:
    """True while somebody holds a lease; leases of users that were killed are removed on the way."""
    for path in _leases(directory).glob("*.lease"):
        lease = FileLock(path, timeout=0)
        try:
            lease.acquire()
        except Timeout:
            return True
        _leave(lease)
    return False
