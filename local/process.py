"""A server process that outlives its starter: started in its own session, recorded in a file, ended by pid."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import Unavailable

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05
PORT_PATIENCE_S = 10.0
# Below the range from which Linux and macOS take ports of outgoing connections: a port found free here is not lost to
# one of them while the server is still on its way up.
PORTS = range(20_000, 32_000)

# A child that is dropped while it runs makes Python warn; these are meant to run on after this process has ended.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server process, alive or not.

    ``marker`` is a set of arguments that only this server's command line holds. It tells the server from whatever
    process may have got its pid later, and it still does so after the machine's clock was set; a start time does not.
    """

    pid: int
    port: int
    marker: tuple[str, ...]

    def alive(self) -> bool:
        """True while the process with this pid is this server."""
        return _has_marker(self.pid, self.marker)


def lock(directory: Path, *, timeout_s: float = 300.0) -> FileLock:
    """A lock between processes, held while a server of ``directory`` is started or stopped. Blocks on ``with``."""
    directory.mkdir(parents=True, exist_ok=True)
    return FileLock(directory / "lock", timeout=timeout_s)


def read_state(path: Path) -> Server | None:
    """The server recorded in ``path``, dead or alive; ``None`` when there is no readable record."""
    try:
        raw = json.loads(path.read_text())
        return Server(pid=int(raw["pid"]), port=int(raw["port"]), marker=tuple(raw["marker"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(path: Path) -> Server | None:
    """The server recorded in ``path`` if it is alive. A stale record, of a dead or a reused pid, counts as none."""
    server = read_state(path)
    return server if server is not None and server.alive() else None


def pick_port(preferred: int | None = None, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """A free TCP port of 127.0.0.1: ``preferred`` if it is, so that a restarted server keeps its address.

    A server that was killed holds its port for a moment longer; ``preferred`` is given that moment.
    """
    deadline_s = clock.monotonic_s() + PORT_PATIENCE_S
    while preferred is not None:
        if _is_free(preferred):
            return preferred
        if clock.monotonic_s() > deadline_s:
            break
        clock.sleep_s(POLL_S)
    for port in random.sample(PORTS, k=200):
        if _is_free(port):
            return port
    raise Unavailable(f"no free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop}; end what uses them")


def spawn(
    argv: Sequence[str], *, marker: tuple[str, ...], port: int, state: Path, log: Path, env: Mapping[str, str]
) -> Server:
    """Start ``argv`` in the folder of ``state``, in its own session, and record it there. Output goes to ``log``."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            cwd=state.parent,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    server = Server(pid=child.pid, port=port, marker=marker)
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(server)))
    fresh.replace(state)
    return server


def wait_ready(server: Server, probe: Callable[[], bool], *, what: str, log: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """Block until ``probe()`` is true. Raises ``Unavailable``, with the end of the log, on a death or a time-out."""
    deadline_s = clock.monotonic_s() + READY_TIMEOUT_S
    while not probe():
        if not psutil.pid_exists(server.pid) or _is_zombie(server.pid):
            raise Unavailable(f"{what} ended while starting; its log {log} ends with:\n{tail(log)}")
        if clock.monotonic_s() > deadline_s:
            stop(server, signal.SIGKILL)
            raise Unavailable(f"{what} did not answer within {READY_TIMEOUT_S:.0f} s; its log {log} ends:\n{tail(log)}")
        clock.sleep_s(POLL_S)


def stop(
    server: Server, how: signal.Signals, *, timeout_s: float = STOP_TIMEOUT_S, clock: Clock = SYSTEM_CLOCK
) -> None:
    """End ``server``: send ``how``, wait, and kill it after ``timeout_s``. Never signals a process that is not it."""
    if not server.alive():
        return
    os.kill(server.pid, how)
    if not _wait_ended(server, timeout_s, clock):
        os.kill(server.pid, signal.SIGKILL)
        if not _wait_ended(server, timeout_s, clock):
            raise Unavailable(f"process {server.pid} does not end, not even by SIGKILL; look at what holds it")


def _wait_ended(server: Server, timeout_s: float, clock: Clock) -> bool:
    """Block until the process has ended. A zombie has: its parent may be another process that is not waiting for it."""
    deadline_s = clock.monotonic_s() + timeout_s
    while psutil.pid_exists(server.pid) and not _is_zombie(server.pid):
        if clock.monotonic_s() > deadline_s:
            return False
        clock.sleep_s(POLL_S)
    return True


def stop_unrecorded(marker: tuple[str, ...], how: signal.Signals) -> None:
    """End servers that carry ``marker`` but that no record names: their starter was killed before it wrote one."""
    for pid in psutil.pids():
        stop(Server(pid=pid, port=0, marker=marker), how)


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as problem:
        return str(problem)


def _has_marker(pid: int, marker: tuple[str, ...]) -> bool:
    try:
        arguments = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    return bool(marker) and set(marker) <= set(arguments)


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port whose connections of a moment ago still linger can be taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
