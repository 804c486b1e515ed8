"""The demo as a person runs it, small: it passes, it notices sabotage, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from vecferry.local.services import Addresses
from waiting import wait_until

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--rows", "600", "--seconds", "8", "--rate", "60", "--writers", "1", "--readers", "2")
TIMEOUT_S = 300.0


class Demo:
    """One run in a folder for temporary files of its own."""

    def __init__(self, addresses: Addresses, folder: Path) -> None:
        self._addresses = addresses
        self.folder = folder
        self._report = folder / "report.json"
        self._said = folder / "said"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "examples/demo", *SMALL, "--report", str(self._report), *options]
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


@pytest.fixture
def demo(server_addresses: Addresses, tmp_path: Path) -> Iterator[Demo]:
    one = Demo(server_addresses, tmp_path)
    yield one
    one.close()


def test_a_small_run_keeps_every_promise(demo: Demo) -> None:
    code, report = demo.run()
    assert code == 0, demo.said()
    assert report["lost"] == report["resurrected"] == report["regressed"] == 0
    assert (report["cutovers"], report["rollbacks"]) == (5, 1)
    assert report["exposure"]["worker_kills"] == report["exposure"]["backfill_kills"] == 1


@pytest.mark.parametrize(
    ("kind", "verify", "final"),
    [
        ("drop-delete", "extra", "resurrected"),
        ("stale-write", "stale", "lost"),
        ("corrupt-vector", "corrupt", "lost"),
        ("skip-chunk", "missing", "lost"),
    ],
)
def test_sabotage_is_noticed_by_vecferry_and_by_the_checker(demo: Demo, kind: str, verify: str, final: str) -> None:
    code, report = demo.run("--sabotage", kind)
    assert code == 1, demo.said()
    assert report["verify"][verify] > 0, demo.said()
    assert report[final] > 0, demo.said()
    assert report["cutovers"] == 0
    assert f"FAULT: {final} is" in demo.said()


def test_an_interrupt_ends_everything(demo: Demo, server_addresses: Addresses) -> None:
    process = demo.start()
    wait_until(lambda: "plan:" in demo.said(), 120.0, "the load to run")
    assert _processes_of(demo.folder)
    process.send_signal(signal.SIGINT)
    assert process.wait(60.0) == 130, demo.said()
    assert _processes_of(demo.folder) == []
    assert list(demo.folder.glob("vecferry-demo-*")) == []
    with psycopg.connect(server_addresses.postgres) as connection:
        databases = [name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()]
    topics = AdminClient({"bootstrap.servers": server_addresses.kafka}).list_topics(timeout=10).topics
    (name,) = set(re.findall(r"demo-[0-9a-f]{8}", demo.said())) or {"none was named"}
    assert name.replace("-", "_") not in databases
    assert not [topic for topic in topics if topic.startswith(name)]


def _processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that work for a run in ``folder``."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if f"{folder}/vecferry-demo-" in line]
