"""The demo as a person runs it, small, in a folder for temporary files of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from vecferry.local.services import Addresses

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--rows", "600", "--seconds", "8", "--rate", "60", "--writers", "1", "--readers", "2")
TIMEOUT_S = 300.0


class Demo:
    """One run; everything it keeps for itself lies below ``folder``."""

    def __init__(self, addresses: Addresses, folder: Path) -> None:
        self._addresses = addresses
        self.folder = folder
        self._report = folder / "report.json"
        self._said = folder / "said"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "examples.demo", *SMALL, "--report", str(self._report), *options]
        given = {"VECFERRY_KAFKA": self._addresses.kafka, "VECFERRY_POSTGRES": self._addresses.postgres}
        # A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                argv, cwd=ROOT, env={**os.environ, **given, "TMPDIR": str(self.folder)}, stdout=said, stderr=said
            )
        signal.signal(signal.SIGINT, handler)
        return self._process

    def run(self, *options: str) -> tuple[int, dict[str, Any]]:
        code = self.start(*options).wait(TIMEOUT_S)
        assert self._report.exists(), self.said()
        return code, json.loads(self._report.read_text())

    def said(self) -> str:
        return self._said.read_text()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60.0)
