"""A worker that is stopped within its merge, and goes on after the history that it knew was cleaned up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import lancedb
import pytest
import suspended_merge
from store_data import PLACEMENT, at, batch, collection
from suspended_merge import DIMENSION
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Outcome
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

DELAYS_S = (0.0, 0.05, 0.1, 0.2, 0.35)  # from reading the table to writing what was merged, on machines fast and slow


def in_partition_0(op: Op, id_: str, offset: int) -> EventBatch:
    made = batch([(op, id_, at(offset))], dimension=DIMENSION)
    made.partitions[:] = 0
    return made


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", DELAYS_S)
@pytest.mark.filterwarnings("ignore:optimize")
def test_a_deleted_id_does_not_come_back_through_a_merge_that_was_stopped(tmp_path: Path, delay_s: float) -> None:
    uri = str(tmp_path / "lance")
    store = open_store(Options.model_validate({"uri": uri}), collection(dimension=DIMENSION, partitions=1), PLACEMENT)
    store.create(complete=True)
    store.apply(in_partition_0(Op.UPSERT, "other", 1), [])
    command = [sys.executable, suspended_merge.__file__, uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as zombie:
        assert zombie.stdout is not None
        assert zombie.stdout.readline() == "merging\n"
        threading.Event().wait(delay_s)
        zombie.send_signal(signal.SIGSTOP)
        store.apply(in_partition_0(Op.UPSERT, "k", 5), [LiveMark(partition=0, next_offset=6)])
        assert store.apply(in_partition_0(Op.DELETE, "k", 7), [LiveMark(partition=0, next_offset=8)])[0] in (0, 1)
        lancedb.connect(uri).open_table(PLACEMENT.table).optimize(cleanup_older_than=timedelta(0))
        zombie.send_signal(signal.SIGCONT)
        said, _ = zombie.communicate(timeout=120)
    held = lancedb.connect(uri).open_table(PLACEMENT.table).search().where(f"`{PLACEMENT.id}` = 'k'").to_arrow()
    assert held["vecferry_position"].to_pylist() == [at(7)]
    assert held["vecferry_deleted"].to_pylist() == [True]
    assert int(said) in (Outcome.STALE, Outcome.APPLIED)
