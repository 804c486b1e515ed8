"""``vecferry status``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import Overloaded, Transient, Unavailable
from ..migration.context import open_context
from ..migration.gates import Verdict
from ..migration.gather import gather
from ..migration.status import Status, summarise
from ..wording import count, mib
from .brief import brief
from .options import add_collection, config_of, log_of, positive_s
from .output import Console, Page, Result, Table
from .progress import duration
from .shown import facts_table, gate_table

ABOVE_BOUND = "which it is not: see its worker's log"
HELP = "phase, route, lag, copy, verification, dead letters, gates, and what to do next"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument("--full", action="store_true", help="everything: all gates, outcomes, what was compared")
    parser.add_argument("--watch", action="store_true", help="show again and again until interrupted")
    parser.add_argument("--interval", metavar="SECONDS", type=positive_s, default=2.0, help="pause of --watch")


def run(args: argparse.Namespace, console: Console) -> Result:
    """Show the status once, or until interrupted. The exit code is 0 whatever the gates say."""
    config = config_of(args)
    with log_of(config) as log, open_context(config, args.collection, log) as context:

        def show() -> Result:
            return result_of(summarise(gather(context), config.gates), full=args.full)

        if args.watch:
            watch(show, console, SYSTEM_CLOCK, args.interval)
        return show()


def watch(show: Callable[[], Result], console: Console, clock: Clock, interval_s: float) -> NoReturn:
    """Emit what ``show`` returns, again and again; while Kafka or a store does not answer, the last of it, and why."""
    last: Result | None = None
    answered_s = clock.monotonic_s()
    while True:
        try:
            last = show()
        except (Unavailable, Transient, Overloaded) as error:
            silent_s = clock.monotonic_s() - answered_s
            problem = f"{error}; no answer for {duration(silent_s)}, asking again every {interval_s:g} s"
            console.clear()
            if last is not None and console.fmt == "table":
                console.emit(replace(last, problems=(), next_steps=()))
            console.fail(type(error).__name__.lower(), (problem,), 1, compact=True)
        else:
            answered_s = clock.monotonic_s()
            console.clear()
            console.emit(last, compact=True)
        clock.sleep_s(interval_s)


def result_of(status: Status, *, full: bool) -> Result:
    """What is printed of ``status``; the document is the same with and without ``full``."""
    screen = Page(render=lambda columns, lines: brief(status, columns, lines))
    tables = (_overview(status), _stores(status), gate_table("Gates of a cutover", status.gates))
    return Result(data={"status": status}, tables=tables if full else (screen,), next_steps=status.next_steps)


def _overview(status: Status) -> Table:
    run, verification = status.run, status.verification
    passed = sum(gate.verdict is Verdict.PASS for gate in status.gates)
    copied = "none"
    if run is not None:
        copied = (
            f"{run.run} {run.state}: {run.chunks_done} of {count(run.chunks, 'chunk')}, {count(run.rows, 'row')}, "
            f"{run.percent:.1f} %, applied in {run.applied_partitions} of {count(run.partitions, 'partition')}"
        )
    verified = "never"
    if verification is not None:
        sample = "" if verification.complete else ", a sample"
        verified = (
            f"{status.verification_age_s:.0f} s ago{sample}: checked {verification.checked}, "
            f"missing {verification.missing}, extra {verification.extra}, stale {verification.stale}, "
            f"corrupt {verification.corrupt}, undecided {verification.undecided}, skipped {verification.skipped}"
        )
    new = status.stores[1].store
    facts: dict[str, object] = {
        "phase": status.phase,
        "step": status.step,
        "reads": f"{status.percent} % on {new} (generation {status.generation})",
        "moves": f"{status.cutovers} forward, {status.rollbacks} back",
        "copy": copied,
        "verified": verified,
        "dead letters": sum(store.dead_letters for store in status.stores),
        "gates": f"{passed} of {len(status.gates)} pass",
        "controller": status.controller or "none",
        f"size of {new}": _size(status),
    }
    return facts_table(status.collection, facts)


def _size(status: Status) -> str:
    size = status.size
    if size is None or size.held is None:
        return "not known"
    if size.bound is None:
        return mib(size.held)
    above = f", {ABOVE_BOUND}" if size.held > size.bound else ""
    return f"{mib(size.held)}, kept below {mib(size.bound)}{above}"


def _stores(status: Status) -> Table:
    rows = [
        (
            store.store,
            store.role,
            store.lag_records,
            store.verdict.value,
            store.workers,
            store.complete_partitions,
            store.dead_letters,
            ", ".join(f"{outcome} {count}" for outcome, count in store.outcomes.items() if count) or "none",
        )
        for store in status.stores
    ]
    columns = ("store", "role", "lag", "verdict", "workers", "complete", "dead letters", "outcomes")
    return Table(title="Stores", columns=columns, rows=rows)
