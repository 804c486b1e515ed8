"""Run every benchmark on local servers and write ``RESULTS.md``: ratios, both sides measured in the same run.

``./run bench`` runs all of them; ``./run bench codec publish`` only those. ``--data FILE.parquet`` is the catalogue of
the backfill. Exits with 1 when a ratio misses its bound.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vecferry.heap import keep_freed_buffers
from vecferry.local import paths
from vecferry.local.services import Addresses, clean, use

from . import backfill, codec, consume, memory, publish, store_lancedb, store_pgvector

Row = dict[str, Any]
AT_MOST = frozenset({"us", "us/event", "MiB"})  # units of which less is better; of all others, more is

# Of its own, and made anew: topics that tests or an earlier run left behind would slow the broker and fill the disk.
SERVERS = f"{paths.set_name(None)}-bench"
RESULTS = Path(__file__).resolve().with_name("RESULTS.md")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="codec, publish, consume, stores, backfill, memory")
    parser.add_argument("--data", type=Path, help="catalogue of the backfill (default: the one in examples/data)")
    options = parser.parse_args()
    clean(SERVERS)
    try:
        rows = _measured(parser, options)
    finally:
        clean(SERVERS)
    lines = _table(rows)
    print("\n".join(lines))
    if not options.names:
        RESULTS.write_text("\n".join([*_head(options.data), *lines, ""]))
        print("written to benchmarks/RESULTS.md", file=sys.stderr)
    return 0 if all(_reached(row) is not False for row in rows) else 1


def _measured(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Row]:
    with use(SERVERS) as servers, tempfile.TemporaryDirectory() as scratch:
        suites = _suites(servers, Path(scratch), options.data)
        unknown = sorted(set(options.names) - set(suites))
        if unknown:
            parser.error(f"no benchmark {unknown[0]!r}; known: {', '.join(suites)}")
        rows: list[Row] = []
        for name in options.names or suites:
            print(f"measuring {name} …", file=sys.stderr)
            rows += suites[name]()
    return rows


def _suites(servers: Addresses, scratch: Path, data: Path | None) -> dict[str, Callable[[], list[Row]]]:
    # In the order of what they write: behind gigabytes, Linux has to win back memory for every page of a file.
    return {
        "codec": codec.run,
        "stores": lambda: _stores(servers.postgres, scratch / "lance"),
        "backfill": lambda: backfill.run(servers, data),
        "consume": lambda: consume.run(servers.kafka),
        "publish": lambda: publish.run(servers.kafka),
        "memory": lambda: memory.run(servers.kafka),
    }


def _stores(postgres: str, lance: Path) -> list[Row]:
    # In a process that treats its memory as a worker does; the baselines too.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=keep_freed_buffers) as worker:
        measured = worker.submit(store_pgvector.run, postgres), worker.submit(store_lancedb.run, lance)
        return [row for rows in measured for row in rows.result()]


def _reached(row: Row) -> bool | None:
    """Whether a row keeps its bound; None where there is none."""
    if row["bound"] is None or math.isnan(row["ratio"]):
        return None
    return bool(row["ratio"] <= row["bound"] if row["unit"] in AT_MOST else row["ratio"] >= row["bound"])


def _head(data: Path | None) -> list[str]:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        "# Results",
        "",
        "Written by `./run bench`. Compare ratios, not rates: both sides of a row were measured in turns in one run.",
        "",
        f"Machine: {_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}. Date: {datetime.now(UTC):%Y-%m-%d}. "
        f"Catalogue of the backfill: {(data or backfill.DEFAULT_DATA).name}.",
        "",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _table(rows: list[Row]) -> list[str]:
    lines = ["| what | ours | baseline | unit | ratio | bound | reached |", "|---|---:|---:|---|---:|---:|---|"]
    for row in rows:
        bound = "" if row["bound"] is None else f"{'≤' if row['unit'] in AT_MOST else '≥'} {row['bound']:g}"
        reached = {True: "yes", False: "**no**", None: ""}[_reached(row)]
        ours, baseline = (f"{row[side]:,.1f}" for side in ("ours", "baseline"))
        lines.append(
            f"| {row['name']} | {ours} | {baseline} | {row['unit']} | {row['ratio']:.2f} | {bound} | {reached} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
