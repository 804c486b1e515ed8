"""A backfill pgvector → Kafka → LanceDB by the real mover and a real worker process, against direct copies.

The direct copy reads keyset pages of 10,000 rows and merges each under the guard, with the adapters' own statements;
the bulk copy is one binary COPY of the table and one append, without guard, order or resumption: a floor, not a rival.
All of them run in turns within one run, each turn beginning with another, because what one leaves to be written the
next one pays for; on fresh targets, each in a process of its own that is up when its clock starts, as the worker is.
``kept`` is the direct copy with the memory settings of a worker, which a plain script does not have.
A virtual machine is kept from having memory free that its host has taken back, or not given yet: it costs up to ten
times as much to touch, and falls on whichever side happens to come to it.
The clock of the backfill starts when the run is opened, with the worker idle, and stops when its store holds every
partition's closing marker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lancedb
import numpy as np
import pyarrow as pa
from vecferry.backfill.context import Context, Mover, make_context
from vecferry.backfill.copying import copy_run
from vecferry.backfill.progress import Progress
from vecferry.backfill.runs import open_run
from vecferry.backfill.waiting import wait_applied
from vecferry.config import Config
from vecferry.heap import keep_freed_buffers
from vecferry.local.postgres import create_database
from vecferry.local.services import Addresses, use
from vecferry.log.kafka.log import KafkaLog
from vecferry.migration.enrol import enrol
from vecferry.schemas.batch import EventBatch, Op, Rows
from vecferry.schemas.partitioner import partitions_of
from vecferry.stores.base import Store
from vecferry.stores.lancedb.options import Options
from vecferry.stores.registry import open_store

from .catalogue import CONFIG, NAME, PARTITIONS, load_table, make_config
from .machine import have_memory_given, memory_in_use, spin
from .pairs import paired

ROUNDS, WARM_UPS = 12, 2  # each of the six sides comes first twice
PAGE_ROWS = 10_000
DEFAULT_DATA = Path(__file__).parent.parent / "examples" / "data" / "catalog-5k.parquet"


def run(servers: Addresses, data: Path | None = None) -> list[dict[str, Any]]:
    """Rows of name, ours, baseline, ratio, bound and unit (rows per second); a bound of None is for information.

    ``data`` is a catalogue as in ``examples/data``; default: VECFERRY_BENCH_DATA, else the small one of the examples.
    """
    path = data or Path(os.environ.get("VECFERRY_BENCH_DATA", DEFAULT_DATA))
    with tempfile.TemporaryDirectory() as scratch, memory_in_use():
        url = create_database(servers.postgres, f"bench_{uuid.uuid4().hex[:10]}")
        dimension, rows = load_table(url, path)
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        two, one = [], []
        for turn in range(WARM_UPS + ROUNDS):
            names = list(SIDES)
            names = names[turn % len(names) :] + names[: turn % len(names)]
            turns = Path(scratch) / str(turn)
            # A namespace for each: a worker would read the run of a mover that came before.
            configs = {name: make_config(servers.kafka, url, turns / name, dimension) for name in OURS}
            for config in configs.values():
                with closing(KafkaLog(config.kafka)) as log:
                    enrol(config, NAME, log)
            seconds = {
                name: fresh(name, configs.get(name, configs["pipe"]), turns / name / "side", rows) for name in names
            }
            if turn >= WARM_UPS:  # those before warm what the servers keep and compile
                for side, took in seconds.items():
                    rates[side].append(rows / took)
                two.append(spin(2))
                one.append(spin(1))
    named = f"{rows} x {dimension}"
    return [
        paired(f"{name}, {named}", rates[ours], rates[baseline], bound=bound, unit="rows/s")
        for name, ours, baseline, bound in (
            ("backfill pgvector to LanceDB", "pipe", "direct", 0.95),
            ("backfill beside a direct copy with a worker's memory settings", "pipe", "kept", None),
            ("backfill's share of COPY + one append", "pipe", "bulk", None),
            ("mover alone (pgvector to Kafka) beside its scan", "mover", "scan", None),
        )
    ] + [paired("two processes at once, each beside one alone", two, one, bound=None, unit="loops/s")]


@contextmanager
def prepared(config: Config) -> Iterator[Mover]:
    """What a mover works with, of a collection that is enrolled."""
    with ExitStack() as stack:
        log = stack.enter_context(closing(KafkaLog(config.kafka)))
        yield Mover(
            context=stack.enter_context(make_context(config, NAME, log)),
            source=stack.enter_context(closing(open_named(config, "old"))),
            writer=stack.enter_context(closing(log.writer(config.namespace, NAME))),
            sender=log.sender(bulk=True),
        )


def open_named(config: Config, name: str) -> Store:
    """A store of the configuration."""
    section = config.stores[name]
    return open_store(section.kind, section.options, config.collection(NAME), config.placement(NAME, name))


def fresh(side: str, config: Config, directory: Path, rows: int) -> float:
    """Seconds of ``side`` in a new process."""
    have_memory_given()
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=one_side, args=(side, config, directory, rows, there))
    with patch.dict(os.environ, KEPT if side == "kept" else {}):
        process.start()
    there.close()
    try:
        seconds: float = here.recv()  # EOFError when the process ended without an answer
        return seconds
    finally:
        process.join()


def one_side(side: str, config: Config, directory: Path, rows: int, answer: Connection) -> None:
    """The new process."""
    if side in OURS:
        keep_freed_buffers()  # as the command line does
    with prepared(config) as made:
        answer.send(SIDES[side](made, directory, rows))


def pipe(made: Mover, directory: Path, _rows: int) -> float:
    """Seconds from opening the run until the worker's store holds it."""

    context = made.context

    def copy() -> None:
        run = copy_run(made, open_run(made, ("new",)), ignore)
        wait_applied(
            context.progress,
            collection=NAME,
            run=run,
            store_name="new",
            store=target,
            timeout_s=300.0,
            on_progress=ignore,
            clock=context.clock,
        )

    with worker(context, directory.with_name(CONFIG)), closing(open_named(context.config, "new")) as target:
        return timed(copy)


def mover(made: Mover, _directory: Path, _rows: int) -> float:
    """Seconds of a run that nobody reads: until Kafka has acknowledged it."""
    return timed(lambda: copy_run(made, open_run(made, ("new",)), ignore))


@contextmanager
def worker(context: Context, config: Path) -> Iterator[None]:
    """A worker of the store new, as the command line starts it, that has its partitions and waits."""
    command = [sys.executable, "-m", "vecferry", "worker", "--config", str(config), "--store", "new"]
    log = config.with_name("worker.log")
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        owned = context.progress.wait_for(lambda: len(context.progress.items("live/")) == PARTITIONS, 60.0)
        assert owned, f"the worker did not start: {log.read_text()}"
        yield
    finally:
        process.kill()
        process.wait()


def scan(made: Mover, _directory: Path, _rows: int) -> float:
    """Seconds of reading all rows, and nothing else."""
    return timed(lambda: sum(map(len, pages(made.source))))


def pages(source: Store) -> Iterator[Rows]:
    """All rows in keyset pages."""
    (everything,) = source.plan_chunks(1_000_000)
    return source.scan(everything, PAGE_ROWS)


def direct(made: Mover, directory: Path, _rows: int) -> float:
    """Seconds of reading pages and merging each, in one process."""
    collection = made.context.collection
    placement = made.context.config.placement(NAME, "new")
    with closing(
        open_store("lancedb", Options.model_validate({"uri": str(directory)}), collection, placement)
    ) as target:
        target.create(complete=False)

        def copy() -> None:
            for rows in pages(made.source):
                target.apply(as_batch(rows), ())

        seconds = timed(copy)
        assert target.count() == made.source.count()
        return seconds


def as_batch(rows: Rows) -> EventBatch:
    """Rows as snapshot events."""
    return EventBatch(
        ids=rows.ids,
        ops=np.full(len(rows), Op.SNAPSHOT, np.int8),
        partitions=partitions_of(rows.ids, PARTITIONS),
        positions=rows.positions,
        vectors=rows.vectors,
        metadata=rows.metadata,
    )


def bulk(made: Mover, directory: Path, rows: int) -> float:
    """Seconds of one COPY and one append to an empty table."""
    dimension = made.context.collection.space.dimension
    vector = pa.list_(pa.float32(), dimension)
    schema = pa.schema({"id": pa.string(), "vector": vector, "metadata": pa.string(), "position": pa.int64()})
    table = lancedb.connect(directory).create_table(NAME, schema=schema)

    def copy() -> None:
        (everything,) = made.source.plan_chunks(rows + 1)
        (page,) = made.source.scan(everything, rows + 1)
        columns = [
            pa.array(page.ids),
            pa.FixedSizeListArray.from_arrays(page.vectors.ravel(), dimension),
            pa.array(page.metadata, pa.string()),
            pa.array(page.positions),
        ]
        table.add(pa.Table.from_arrays(columns, schema=schema))

    return timed(copy)


SIDES: dict[str, Callable[[Mover, Path, int], float]] = {
    "pipe": pipe,
    "mover": mover,
    "scan": scan,
    "direct": direct,
    "kept": direct,
    "bulk": bulk,
}


OURS = ("pipe", "mover")

# What keep_freed_buffers sets, as glibc and Arrow read it when a process begins.
KEPT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def ignore(progress: Progress) -> None:
    """Nobody watches."""
    del progress


def timed(action: Callable[[], object]) -> float:
    """Seconds that ``action`` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a catalogue in Parquet; default VECFERRY_BENCH_DATA")
    with use() as local:
        results = run(local, parser.parse_args().data)
    for result in results:
        print("{name:66} {ours:10.0f} {baseline:10.0f} {unit} ratio {ratio:5.2f} bound {bound}".format(**result))
