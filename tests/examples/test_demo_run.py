"""A small run passes, and an interrupted one leaves nothing behind."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from demo_process import Demo
from vecferry.local.services import Addresses
from waiting import wait_until

pytestmark = pytest.mark.server


def test_a_small_run_keeps_every_promise(demo: Demo) -> None:
    code, report = demo.run()
    assert code == 0, demo.said()
    assert report["lost"] == report["resurrected"] == report["regressed"] == 0
    assert (report["cutovers"], report["rollbacks"]) == (5, 1)
    assert report["exposure"]["worker_kills"] == report["exposure"]["backfill_kills"] == 1


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
