"""``vecferry enrol``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..migration.enrol import enrol
from .options import add_collection, add_dry_run, config_of, log_of
from .output import Console, Result
from .shown import facts_table, statements_table

HELP = "make the topics, prepare both stores, and fix where their consumer groups begin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Enrol, or say what enrolling would do."""
    config = config_of(args)
    with log_of(config) as log:
        done = enrol(config, args.collection, log, dry_run=args.dry_run)
    if args.dry_run:
        steps: tuple[str, ...] = (f"vecferry enrol {args.collection}",)
    else:
        lie_in = (config.replica(args.collection, name).store for name in (done.source, done.target))
        workers = tuple(f"vecferry worker --store {store}" for store in dict.fromkeys(lie_in))
        steps = (*workers, f"vecferry start {args.collection}")
    facts = {
        "collection": done.collection,
        "from": done.source,
        "to": done.target,
        "new topics": ", ".join(done.topics) or "none",
        "groups": ", ".join(done.groups),
    }
    if not args.dry_run:
        ran = [f"{store} {len(lines)}" for store, lines in done.statements.items() if lines]
        facts["statements run"] = f"{', '.join(ran)} (--output json shows them)" if ran else "none"
    title = "Enrolling would do this" if args.dry_run else "Enrolled"
    return Result(
        data={"dry_run": args.dry_run, **asdict(done)},
        tables=(facts_table(title, facts), *((statements_table(done.statements),) if args.dry_run else ())),
        next_steps=steps,
    )
