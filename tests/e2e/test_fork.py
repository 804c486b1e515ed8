"""Forks of an application that has opened everything, on real servers: nothing is shared, and the parent goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fork_process
import pytest
from ferry import Ferry, ferry
from waiting import wait_until
from web_server import gunicorn

pytestmark = pytest.mark.server

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def site(tmp_path: Path, kafka_bootstrap: str, postgres_url: str) -> Iterator[Ferry]:
    """A collection of 20 rows with a worker of its old store."""
    with ferry(tmp_path, kafka_bootstrap, postgres_url, rows=20) as log:
        log.must("enrol", "products")
        log.spawn("worker", "--store", "old")
        wait_until(lambda: "assigned" in log.log(), 60, "the worker to have its partitions")
        yield log


def environment(site: Ferry) -> dict[str, str]:
    return {**os.environ, "VECFERRY_CONFIG": str(site.config), "PYTHONPATH": str(SUPPORT)}


def test_children_are_refused_what_they_inherit_and_no_read_of_the_parent_is_wrong(site: Ferry) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", fork_process.__file__, str(site.config)],
        env=environment(site),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["children"]) == fork_process.CHILDREN
    for child in seen["children"]:
        own = child.pop("own")
        assert own[:2] == ["", str(len(fork_process.IDS))]
        closings = {name: child.pop(name) for name in list(child) if name.endswith("close")}
        assert {error for error, _, _ in closings.values()} == {""}
        assert {name: error for name, (error, _, _) in child.items()} == dict.fromkeys(child, "Forked")
        assert max(took_s for _, _, took_s in [*child.values(), *closings.values()]) < 5.0
    assert seen["exit_code"] == 5
    assert seen["reads"] > 100
    assert seen["wrong"] == []
    assert sorted(seen["after"]) == ["after", "before"]


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)


def test_four_workers_of_a_preloaded_gunicorn_read_what_they_ask_for(site: Ferry) -> None:
    with gunicorn("preloaded", site, workers=4) as address, ThreadPoolExecutor(8) as threads:
        inherited = list(threads.map(lambda _: ask(f"{address}/inherited"), range(40)))
        assert {name for answer in inherited for name in answer["found"]} == {"Forked"}
        ids = fork_process.IDS * 20
        answers = list(threads.map(lambda id_: ask(f"{address}/{id_}"), ids))
        assert [answer["found"] for answer in answers] == [[[id_, int(id_[4:])]] for id_ in ids]
        pids = {answer["pid"] for answer in [*inherited, *answers]}

        def all_have_answered() -> bool:
            pids.update(answer["pid"] for answer in threads.map(lambda _: ask(f"{address}/{ids[0]}"), range(8)))
            return len(pids) == 4

        wait_until(all_have_answered, 60, "each worker to answer")
