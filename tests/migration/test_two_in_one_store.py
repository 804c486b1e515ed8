"""Two replicas as two tables of one store: one worker feeds both, and reads move from one to the other."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import vecferry
from migration_rig import log_of
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import load_config
from vecferry.consumers.service import run_worker
from vecferry.errors import ConfigError
from vecferry.journal.lease import Lease
from vecferry.migration.context import open_context
from vecferry.migration.cutover import move_reads
from vecferry.migration.enrol import enrol
from vecferry.migration.gates import Verdict
from vecferry.migration.gather import gather
from vecferry.migration.start import start
from vecferry.migration.status import summarise
from vecferry.migration.verifying import verify_replicas
from waiting import wait_until

NAME = "products"


def document(bootstrap: str, folder: Path) -> dict[str, object]:
    return {
        "namespace": f"t{uuid.uuid4().hex[:10]}",
        "kafka": {"bootstrap_servers": bootstrap},
        "stores": {"lake": {"kind": "lancedb", "uri": str(folder)}},
        "collections": {
            NAME: {
                "dimension": 3,
                "metric": "l2",
                "space": {"model": "m", "version": "1"},
                "partitions": 2,
                "in": {
                    "plain": {"store": "lake", "table": "products"},
                    "indexed": {"store": "lake", "table": "products_2"},
                },
            }
        },
        "migrations": {NAME: {"from": "plain", "to": "indexed"}},
    }


def test_a_worker_of_a_replica_that_is_no_store_is_told_its_store(tmp_path: Path) -> None:
    config = load_config(document("127.0.0.1:1", tmp_path))
    with pytest.raises(ConfigError, match=r"store 'indexed' is not in .*; the replica of that name lies in lake"):
        run_worker(config, "indexed", [], SYSTEM_CLOCK, threading.Event())


@pytest.mark.server
def test_one_worker_feeds_two_tables_and_reads_move_between_them(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = load_config(document(kafka_bootstrap, tmp_path))
    stop = threading.Event()
    with log_of(config) as log, ThreadPoolExecutor(1) as pool:
        enrolment = enrol(config, NAME, log)
        assert enrolment.groups == (f"{config.namespace}.{NAME}.plain", f"{config.namespace}.{NAME}.indexed")
        worker = pool.submit(run_worker, config, "lake", [], SYSTEM_CLOCK, stop)
        try:
            with vecferry.open(config) as pipeline, pipeline.publisher(NAME) as publisher:
                reader = pipeline.reader(NAME)
                vectors = np.random.default_rng(1).standard_normal((30, 3)).astype(np.float32)
                publisher.upsert_many([f"id-{n}" for n in range(30)], vectors)
                token = publisher.delete("id-7").result(timeout=30)
                assert reader.get(["id-7"], after=token, timeout=30.0) == []
                with (
                    open_context(config, NAME, log) as context,
                    Lease(config, NAME, context.control, log, command="test") as lease,
                ):
                    say: list[str] = []
                    record = start(context, lease, say=say.append, on_progress=lambda progress: None, timeout_s=60.0)
                    assert record.step == "indexed"
                    report, verified = verify_replicas(context, lease, sample=None, on_progress=lambda p: None)
                    assert verified.clean, report.examples
                    assert verified.checked == 29
                    move = move_reads(context, lease, 100)
                    assert move.verdict is Verdict.PASS, move.gates
                    status = summarise(gather(context), config.gates)
                    assert [(at.store, at.role, at.workers) for at in status.stores] == [
                        ("plain", "from", 1),
                        ("indexed", "to", 1),
                    ]

                def is_moved() -> bool:
                    assert len(reader.get(["id-1", "id-7"], timeout=30.0)) == 1
                    return reader.route is not None and reader.route.percent == 100

                wait_until(is_moved, what="reads to move")
        finally:
            stop.set()
        worker.result(timeout=60)
