"""Start, cancel and kill a migration of the rig."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from migration_rig import NAME, Rig
from vecferry.journal.migration import MigrationRecord
from vecferry.journal.runs import read_runs
from vecferry.migration.cancel import cancel
from vecferry.migration.start import start

SUPPORT = Path(__file__).parent


def do_start(rig: Rig, *, new_run: bool = False, timeout_s: float = 60.0) -> MigrationRecord:
    with rig.steering() as (context, lease):
        return start(
            context,
            lease,
            new_run=new_run,
            say=lambda line: None,
            on_progress=lambda progress: None,
            timeout_s=timeout_s,
        )


def do_cancel(rig: Rig) -> None:
    with rig.steering() as (context, lease):
        cancel(context, lease)


def run_states(rig: Rig) -> dict[str, str]:
    with rig.context() as context:
        return {name: run.state for name, run in read_runs(context.control, NAME).items()}


def kill(rig: Rig, verb: str, failpoint: str, rows: int) -> None:
    """Run ``verb`` in a process on stores of its own until ``failpoint`` kills it; the source has ``rows`` rows."""
    environment = {**os.environ, "VECFERRY_FAILPOINT": failpoint, "PYTHONPATH": str(SUPPORT)}
    script = [sys.executable, "-m", "start_process", rig.config.kafka.bootstrap_servers, rig.config.namespace]
    killed = subprocess.run(
        [*script, str(rows), verb], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
