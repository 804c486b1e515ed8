"""``vecferry start``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..heap import keep_freed_buffers
from ..journal.lease import Lease
from ..migration.context import open_context
from ..migration.outcome import outcome_of
from ..migration.start import start
from .options import add_collection, add_dry_run, add_timeout, config_of, log_of
from .output import Console, Result
from .plan import show_plan
from .progress import reporting
from .shown import facts_table, letter_problems, run_facts

HELP = "copy the source into the target and build its index; goes on where it was stopped"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument(
        "--new-run", action="store_true", help="copy again, behind new fences, although an earlier run is done"
    )
    parser.add_argument(
        "--skip-uncarried",
        action="store_true",
        help="leave rows behind that cannot be copied, instead of copying nothing; also: [backfill] uncarried",
    )
    parser.add_argument(
        "--uncarried-file",
        metavar="FILE",
        type=Path,
        help="where such rows are listed (default: COLLECTION-uncarried.jsonl)",
    )
    add_dry_run(parser)
    add_timeout(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Copy until the target holds everything and its index is built; exit 1 when it could not take a row of the run."""
    config = config_of(args)
    if args.dry_run:
        return show_plan(config, args.collection, new_run=args.new_run)
    keep_freed_buffers()
    with (
        log_of(config) as log,
        open_context(config, args.collection, log) as context,
        Lease(config, args.collection, context.control, log, command=f"start {args.collection}") as lease,
        reporting(console) as on_progress,
    ):
        record = start(
            context,
            lease,
            new_run=args.new_run,
            skip_uncarried=args.skip_uncarried,
            uncarried_file=args.uncarried_file or Path(f"{args.collection}-uncarried.jsonl"),
            say=console.say,
            on_progress=on_progress,
            timeout_s=args.timeout,
        )
        outcome = None if record.run is None else outcome_of(context, record.run, record.target)
    facts = {"from": record.source, "to": record.target, "step": record.step, **run_facts(record.run, outcome)}
    problems = letter_problems(args.collection, outcome)
    return Result(
        data={"collection": args.collection, "migration": record, "outcome": outcome},
        tables=(facts_table(f"{args.collection}: copied, applied and indexed", facts),),
        problems=problems,
        next_steps=(f"vecferry dlq list {args.collection}" if problems else f"vecferry verify {args.collection}",),
        exit_code=1 if problems else 0,
    )
