from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import backfill_rig
import numpy as np
import pytest
from backfill_rig import (
    CHUNK_ROWS,
    COLLECTION,
    PARTITIONS,
    Arrived,
    begin,
    loaded_store,
    make_config,
    mover_of,
    new_namespace,
    produce,
    read_snapshot,
)
from memory_store import MemoryStore
from vecferry.backfill import scanning
from vecferry.backfill.copying import copy_run
from vecferry.backfill.progress import Progress
from vecferry.backfill.runs import open_run
from vecferry.config import Config
from vecferry.errors import Refused, Transient
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.journal.run import RunRecord
from vecferry.journal.runs import read_done, read_run
from vecferry.schemas.collection import MAX_RECORD_BYTES
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.topics import dlq_topic, events_topic, progress_topic

pytestmark = pytest.mark.server

ROWS = 1_150  # six chunks, the last one not full
CHUNKS = 6


@pytest.fixture
def config(kafka_bootstrap: str) -> Config:
    return make_config(kafka_bootstrap, new_namespace())


def silent(progress: Progress) -> None:
    del progress


def check_arrived(arrived: Arrived, source: MemoryStore) -> None:
    """Every partition is complete, and every row is there as the source holds it."""
    assert {(tally.closed, tally.problem) for tally in arrived.tallies.values()} == {(True, "")}
    expected = {id_: (entry.position, entry.vector.tobytes(), entry.metadata) for id_, entry in source.rows.items()}
    assert arrived.rows == expected


def test_a_run_carries_every_row_and_closes(config: Config) -> None:
    source = loaded_store(config, ROWS)
    seen: list[Progress] = []
    with mover_of(config, source) as mover:
        begin(mover, "new")
        run = open_run(mover, ("new",))
        assert (run.run, run.state, run.generation, run.chunks) == ("r1", "copying", 1, CHUNKS)
        closed = copy_run(mover, run, seen.append)
        mover.context.control.sync()
        assert read_run(mover.context.control, COLLECTION, "r1") == closed
        assert sum(done.rows for done in read_done(mover.context.control, COLLECTION, "r1").values()) == ROWS
    assert (closed.state, closed.rows, closed.fences) == ("closed", ROWS, (0,) * PARTITIONS)
    check_arrived(read_snapshot(config, "r1"), source)
    assert (seen[-1].percent, seen[-1].rows, seen[-1].chunks_done) == (100.0, ROWS, CHUNKS)
    assert any(progress.note == "no worker of new, old is running: rows wait in Kafka" for progress in seen)


def test_rows_are_kept_over_pages_until_they_fill_a_block(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, wide = 500, b'{"text":"%s"}' % (b"x" * 20_000)
    config = make_config(kafka_bootstrap, new_namespace(), chunk_rows=rows)
    monkeypatch.setattr(scanning, "page_rows", lambda *_: 40)
    source = loaded_store(config, rows)
    source.rows = {id_: replace(entry, metadata=wide) for id_, entry in source.rows.items()}
    with mover_of(config, source) as mover:
        begin(mover, "new")
        copy_run(mover, open_run(mover, ("new",)), silent)
    arrived = read_snapshot(config, "r1")
    check_arrived(arrived, source)
    per_partition = np.bincount(partitions_of(list(source.rows), PARTITIONS))
    assert arrived.blocks == sum(-(-int(found) // (MAX_RECORD_BYTES // len(wide))) for found in per_partition)


def test_an_empty_source_gives_a_closed_run(config: Config) -> None:
    source = loaded_store(config, 0)
    with mover_of(config, source) as mover:
        begin(mover, "new")
        closed = copy_run(mover, open_run(mover, ("new",)), silent)
    assert (closed.state, closed.rows) == ("closed", 0)
    check_arrived(read_snapshot(config, "r1"), source)


@pytest.mark.parametrize(
    "failpoint",
    [
        "backfill.planned",
        "backfill.fenced:3",
        "backfill.scanned:3",
        "backfill.produced:3",
        "backfill.marked:3",
        "backfill.chunk-done:3",
        "backfill.closing",
        "backfill.closed",
    ],
)
def test_a_killed_run_is_taken_up_and_ends_the_same(config: Config, failpoint: str) -> None:
    source = loaded_store(config, ROWS)
    with mover_of(config, source) as mover:
        begin(mover, "new")
    killed = subprocess.run(
        [sys.executable, backfill_rig.__file__, config.kafka.bootstrap_servers, config.namespace, str(ROWS)],
        env={
            **os.environ,
            "VECFERRY_FAILPOINT": failpoint,
            "PYTHONPATH": str(Path(backfill_rig.__file__).parent),
        },
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with mover_of(config, source) as mover:
        mover.context.control.sync()
        left = read_run(mover.context.control, COLLECTION, "r1")
        if left.state == "copying":
            run = open_run(mover, ("new",))
            assert (run.run, run.generation) == ("r1", 2)
            closed = copy_run(mover, run, silent)
            assert (closed.state, closed.rows) == ("closed", ROWS)
        else:
            assert failpoint == "backfill.closed"
    check_arrived(read_snapshot(config, "r1"), source)


def test_a_mover_that_was_superseded_stops_and_harms_nothing(config: Config) -> None:
    source = loaded_store(config, ROWS)
    with mover_of(config, source) as first, mover_of(config, source) as second:
        begin(second, "new")  # the writer of `second` has fenced that of `first`
        run = open_run(second, ("new",))
        with pytest.raises(Refused, match="another controller"):
            copy_run(first, run, silent)  # sends the first chunk before it learns of it
        closed = copy_run(second, open_run(second, ("new",)), silent)
    assert closed.generation == 2
    check_arrived(read_snapshot(config, "r1"), source)


def test_what_the_source_raises_ends_the_copy_and_the_run_can_go_on(config: Config) -> None:
    source = loaded_store(config, ROWS)
    scans = 0

    def fail_once(method: str) -> None:
        nonlocal scans
        scans += method == "scan"
        if method == "scan" and scans == 5:
            raise Transient("connection lost")

    source._before = fail_once
    with mover_of(config, source) as mover:
        begin(mover, "new")
        with pytest.raises(Transient, match="connection lost"):
            copy_run(mover, open_run(mover, ("new",)), silent)
        copy_run(mover, open_run(mover, ("new",)), silent)
    check_arrived(read_snapshot(config, "r1"), source)


def test_lag_holds_the_copy_back_and_is_named(config: Config) -> None:
    config = make_config(config.kafka.bootstrap_servers, config.namespace, max_live_lag_records=5)
    source = loaded_store(config, ROWS)
    causes: set[str | None] = set()
    with mover_of(config, source) as mover:
        begin(mover, "new")
        produce(config, events_topic(config.namespace, COLLECTION), {f"k{n}": b"x" for n in range(12)}, partition=1)

        def report(next_offset: int) -> None:
            beat = LiveProgress(next_offset=next_offset, complete=False, beat_unix_s=mover.context.clock.unix_s())
            key = live_progress_key(COLLECTION, "new", 1)
            produce(config, progress_topic(config.namespace), {key: beat.encode()}, partition=0)

        report(0)
        mover.context.progress.sync()

        def on_progress(progress: Progress) -> None:
            if progress.throttled is not None and progress.throttled not in causes:
                assert progress.chunks_done == 0
                report(12)
            causes.add(progress.throttled)

        copy_run(mover, open_run(mover, ("new",)), on_progress)
    assert "live lag of new is 12 records (bound 5)" in causes
    check_arrived(read_snapshot(config, "r1"), source)


def test_fences_follow_the_source_and_its_oldest_dead_letter(config: Config) -> None:
    source = loaded_store(config, CHUNK_ROWS)
    source.live = {0: 7, 1: 9, 2: 4}
    live = events_topic(config.namespace, COLLECTION)
    letters = {f"old/{live}/1/6/0": b"", f"old/{live}/1/8/0": b"", f"new/{live}/2/1/0": b"", "old/other/0/1/0": b""}
    with mover_of(config, source) as mover:
        begin(mover, "new", (7, 6, 4))
        produce(config, dlq_topic(config.namespace, COLLECTION), dict(letters), partition=0)
        closed = copy_run(mover, open_run(mover, ("new",)), silent)
        assert closed.fences == (7, 6, 4)
        mover.context.control.sync()
        assert read_done(mover.context.control, COLLECTION, "r1")[0].fences == (7, 6, 4)
        produce(config, dlq_topic(config.namespace, COLLECTION), {f"old/{live}/1/5/0": b""}, partition=0)
        with pytest.raises(Refused, match=r"began behind the run's fence in partition 1:"):
            open_run(mover, ("new",))


def test_a_letter_that_appears_below_a_group_start_stops_the_copy(config: Config) -> None:
    source = loaded_store(config, ROWS)
    source.live = {0: 7, 1: 9, 2: 4}
    live = events_topic(config.namespace, COLLECTION)
    with mover_of(config, source) as mover:
        begin(mover, "new", (7, 9, 4))
        run = open_run(mover, ("new",))
        produce(config, dlq_topic(config.namespace, COLLECTION), {f"old/{live}/0/3/0": b""}, partition=0)
        with pytest.raises(Refused, match="dead letter of old is older"):
            copy_run(mover, run, silent)


def test_a_run_is_refused_with_the_remedy(config: Config) -> None:
    source = loaded_store(config, 10)
    with mover_of(config, source) as mover:
        with pytest.raises(Refused, match="group of store new has not begun; run `vecferry enrol products`"):
            open_run(mover, ("new",))
        begin(mover, "new")
        with pytest.raises(Refused, match="source and a target"):
            open_run(mover, ("old",))
        source.complete.discard(2)
        with pytest.raises(Refused, match=r"old is not complete in partition 2:"):
            open_run(mover, ("new",))
        source.complete.add(2)
        open_run(mover, ("new",))
        begin(mover, "third")
        with pytest.raises(Refused, match="run r1 of products is open"):
            open_run(mover, ("third",))


def test_a_closed_run_is_followed_by_a_new_one_and_cannot_be_copied_again(config: Config) -> None:
    source = loaded_store(config, 10)
    with mover_of(config, source) as mover:
        begin(mover, "new")
        closed = copy_run(mover, open_run(mover, ("new",)), silent)
        with pytest.raises(Refused, match="run r1 is closed"):
            copy_run(mover, closed, silent)
        assert open_run(mover, ("new",)).run == "r2"


def test_a_topic_that_holds_records_without_a_run_is_left_alone(config: Config) -> None:
    source = loaded_store(config, 10)
    with mover_of(config, source) as mover:
        begin(mover, "new")
        for run, width, records in (("r1", PARTITIONS, {"left": b"over"}), ("r2", 1, {}), ("r3", PARTITIONS, {})):
            topic = f"{config.namespace}.{COLLECTION}.snapshot.{run}"
            assert mover.context.log.admin.create_topic(topic, width, {})
            produce(config, topic, dict(records))
        run: RunRecord = open_run(mover, ("new",))
        assert run.run == "r3"


def test_a_writer_that_was_fenced_opens_no_run(config: Config) -> None:
    with mover_of(config, loaded_store(config, 10)) as mover:
        begin(mover, "new")
        mover.context.log.writer(config.namespace, COLLECTION)
        with pytest.raises(Refused, match="another controller"):
            open_run(mover, ("new",))
