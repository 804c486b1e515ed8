"""gunicorn with a preloaded application."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferry import Ferry

SUPPORT = Path(__file__).parent


@contextmanager
def gunicorn(module: str, site: Ferry, workers: int, **environment: str) -> Iterator[str]:
    """The address of ``module:application``, which also configures gunicorn. It must end well, without a complaint."""
    variables = {**os.environ, "VECFERRY_CONFIG": str(site.config), "PYTHONPATH": str(SUPPORT), **environment}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        command = [sys.executable, "-W", "ignore", "-m", "gunicorn", f"{module}:application", "--preload"]
        command += ["--workers", str(workers), "--bind", f"fd://{number}", "--timeout", "60"]
        command += ["--config", str(SUPPORT / f"{module}.py")]
        with (
            (site.directory / "gunicorn.log").open("w+") as log,
            subprocess.Popen(
                command, env=variables, cwd=site.directory, pass_fds=[number], stdout=log, stderr=log
            ) as server,
        ):
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
                server.send_signal(signal.SIGTERM)
                code = server.wait(60)
            finally:
                server.kill()
            log.seek(0)
            said = log.read()
    assert code == 0, said
    assert "Traceback" not in said
    assert "ends without close" not in said
    assert "SIGKILL" not in said
