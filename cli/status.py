"""``vecferry status``."""

from __future__ import annotations

import argparse

from ..backfill.context import Context
from ..clock import SYSTEM_CLOCK
from ..config import Config
from ..migration.context import open_context
from ..migration.gates import Verdict
from ..migration.gather import gather
from ..migration.status import Status, summarise
from ..wording import count, mib
from .options import add_collection, config_of, log_of, positive_s
from .output import Console, Result, Table
from .shown import facts_table, gate_table

ABOVE_BOUND = "which it is not: see its worker's log"
HELP = "phase, route, lag, copy, verification, dead letters, gates, and what to do next"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument("--watch", action="store_true", help="show again and again until interrupted")
    parser.add_argument("--interval", metavar="SECONDS", type=positive_s, default=2.0, help="pause of --watch")


def run(args: argparse.Namespace, console: Console) -> Result:
    """Show the status once, or until interrupted. The exit code is 0 whatever the gates say."""
    config = config_of(args)
    with log_of(config) as log, open_context(config, args.collection, log) as context:
        while args.watch:
            shown = _show(context, config)
            console.clear()
            console.emit(shown, compact=True)
            SYSTEM_CLOCK.sleep_s(args.interval)
        return _show(context, config)


def _show(context: Context, config: Config) -> Result:
    status = summarise(gather(context), config.gates)
    return Result(
        data={"status": status},
        tables=(_overview(status), _stores(status), gate_table("Gates of a cutover", status.gates)),
        next_steps=status.next_steps,
    )


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
            f"corrupt {verification.corrupt}, undecided {verification.undecided}"
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
