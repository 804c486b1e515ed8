"""Whether a worker's memory depends on how much waits for it.

Two workers, each a process of its own with a LanceDB store, take the same gigabyte of events in batches of the same
size. For the first never more than 20 MB wait, for the second everything waits from the start. Compared is the peak
resident memory of the process, as the operating system counts it: the medians of some rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.log.port import Table
from vecferry.schemas.topics import progress_topic
from vecferry.stores.lancedb.options import Options
from vecferry.stores.registry import open_store

from .bench_log import Log

DIMENSION = 768
EVENT_BYTES = 4 * DIMENSION + 100
EVENTS = 1_000_000_000 // EVENT_BYTES
SMALL = 20_000_000 // EVENT_BYTES
IDS = 4_000  # the table stays small: this is about the worker, not about the size of the store
BATCH_ROWS = 2_000
BOUND = 1.1
ROUNDS = 3  # a peak is one moment: it differs by a fifth between equal runs

# The high-water mark of this process alone: that of getrusage begins with what its parent had.
_CHILD = """
import sys, threading
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import load_config
from vecferry.consumers.service import run_worker
from vecferry.heap import keep_freed_buffers
keep_freed_buffers()  # as the command line does
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
run_worker(load_config(sys.argv[1]), "new", [], SYSTEM_CLOCK, stop)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) / 1024)
"""


def run(bootstrap: str) -> list[dict[str, Any]]:
    """One row: peak MiB with everything waiting (ours) and with at most 20 MB waiting (baseline)."""
    rounds = [(_peak_mib(bootstrap, waiting=SMALL), _peak_mib(bootstrap, waiting=EVENTS)) for _ in range(ROUNDS)]
    trickle, flood = (statistics.median(side) for side in zip(*rounds, strict=True))
    return [
        {
            "name": "worker memory, 1 GB waiting against 20 MB",
            "ours": flood,
            "baseline": trickle,
            "ratio": flood / trickle,
            "bound": BOUND,
            "unit": "MiB",
        }
    ]


def _peak_mib(bootstrap: str, waiting: int) -> float:
    with tempfile.TemporaryDirectory() as directory, Log(bootstrap, dimension=DIMENSION) as log:
        placement = log.config.placement(log.name, "new")
        options = Options.model_validate({"uri": f"{directory}/lance"})
        store = open_store("lancedb", options, log.collection, placement)
        store.create(complete=False)
        store.close()
        config = Path(directory) / "vecferry.toml"
        config.write_text(_toml(log, bootstrap, f"{directory}/lance"))
        progress = log.log.table(progress_topic(log.namespace))
        progress.sync()
        published = min(waiting, EVENTS)
        log.publish(published, ids=IDS)
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while (applied := _applied(progress, log)) < EVENTS:
            room = min(applied + waiting, EVENTS) - published
            if room >= SMALL // 4 or (room and applied == published):
                log.publish(room, ids=IDS)
                published += room
            if child.poll() is not None:
                raise RuntimeError(f"the worker ended with {child.returncode}")
            time.sleep(0.05)
        output, _ = child.communicate("")
        progress.close()
    return float(output)


def _applied(progress: Table, log: Log) -> int:
    found = progress.items(live_progress_key(log.name, "new"))
    return sum(LiveProgress.model_validate_json(value).next_offset for value in found.values())


def _toml(log: Log, bootstrap: str, uri: str) -> str:
    return f"""
namespace = "{log.namespace}"
[kafka]
bootstrap_servers = "{bootstrap}"
[stores.new]
kind = "lancedb"
uri = "{uri}"
[collections.{log.name}]
dimension = {DIMENSION}
metric = "l2"
space = {{model = "random", version = "1"}}
partitions = {log.partitions}
[collections.{log.name}.in.new]
table = "bench"
[worker]
batch_rows = {BATCH_ROWS}
"""
