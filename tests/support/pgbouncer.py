"""PgBouncer in transaction mode before a PostgreSQL: the package of Debian, from the system or unpacked beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from filelock import FileLock
from vecferry.errors import Unavailable
from vecferry.local import paths, process
from waiting import wait_until

_PACKAGE = "pgbouncer"
_REMEDY = "install it (apt-get install pgbouncer) or put its program on the PATH"


@contextmanager
def pooler(url: str, directory: Path, *, at_connect: str = "") -> Iterator[str]:
    """A URL that reaches the database of ``url`` through one server connection, which all clients share in turn.

    ``at_connect``: SQL for that connection, such as a SET that stands for a setting of the role. Raises Unavailable
    when PgBouncer can be had nowhere: a machine without it has not tested what a pooler does.
    """
    program, libraries = _program()
    port = process.pick_port()
    server = urlsplit(url)
    quoted = unquote(server.password or "").replace("'", "''")
    connect_query = f" connect_query='{at_connect}'" if at_connect else ""
    (directory / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={server.hostname} port={server.port} user={server.username} password='{quoted}'{connect_query}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
{"user = nobody" if os.geteuid() == 0 else ""}
"""
    )
    with (directory / "pgbouncer.log").open("wb") as log:
        child = subprocess.Popen(
            [program, directory / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
    pooled = f"postgresql://app@127.0.0.1:{port}{server.path}"
    try:
        wait_until(lambda: child.poll() is not None or _answers(pooled), what="PgBouncer")
        assert child.poll() is None, (directory / "pgbouncer.log").read_text()
        yield pooled
    finally:
        child.terminate()
        child.wait(30)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def _program() -> tuple[Path, str]:
    """The program, and where its libraries are if the system does not have them."""
    installed = shutil.which(_PACKAGE) or shutil.which(_PACKAGE, path="/usr/sbin:/usr/local/sbin")
    if installed is not None:
        return Path(installed), os.environ.get("LD_LIBRARY_PATH", "")
    folder = paths.home() / "debian" / _PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=300):
        found = next(folder.glob("root/usr/sbin/pgbouncer"), None)
        if found is None:
            _unpack(folder)
    libraries = sorted({str(path.parent) for path in (folder / "root").rglob("*.so.*")})
    return folder / "root/usr/sbin/pgbouncer", ":".join(libraries)


def _unpack(folder: Path) -> None:
    """Download the package and what it needs that this system lacks, and unpack all of it; installs nothing."""
    if shutil.which("apt-get") is None:
        raise Unavailable(f"PgBouncer is missing, and this is no Debian; {_REMEDY}")
    addresses = _addresses()
    if not addresses and os.geteuid() == 0:  # a fresh container has no lists of packages
        _run(["apt-get", "update"], folder)
        addresses = _addresses()
    if not addresses:
        raise Unavailable(f"apt-get knows no package {_PACKAGE}; {_REMEDY}")
    fresh = folder / "root.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for package in addresses:
        _run(["apt-get", "download", package], folder)
    for archive in folder.glob("*.deb"):
        _run(["dpkg", "-x", str(archive), str(fresh)], folder)
        archive.unlink()
    fresh.rename(folder / "root")


def _addresses() -> list[str]:
    """The packages that an installation would bring, as ``apt-get download`` takes them."""
    done = subprocess.run(
        ["apt-get", "--simulate", "--no-install-recommends", "install", _PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^Inst (\S+) .*?\((\S+)", done.stdout, re.MULTILINE)
    return [f"{name}={version}" for name, version in found]


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)}: {done.stderr.strip()}; {_REMEDY}")
