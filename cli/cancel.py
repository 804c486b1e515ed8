"""``vecferry cancel``."""

from __future__ import annotations

import argparse

from ..journal.lease import Lease
from ..migration.cancel import cancel, preview_cancellation
from ..migration.context import open_context
from ..wording import count
from .options import add_collection, add_dry_run, config_of, log_of
from .output import Console, Result
from .shown import facts_table

HELP = "give up the run under way; an earlier complete copy stands again, else the next `start` copies anew"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Cancel, or say what cancelling would give up."""
    config = config_of(args)
    with log_of(config) as log, open_context(config, args.collection, log) as context:
        if args.dry_run:
            done = preview_cancellation(context)
        else:
            with Lease(config, args.collection, context.control, log, command=f"cancel {args.collection}") as lease:
                done = cancel(context, lease)
    facts = {
        f"run {run.run}": f"from {run.source} to {', '.join(run.targets)}, {run.state}, {count(run.chunks, 'chunk')}"
        for run in done.runs
    }
    title = "Cancelling would give up this" if args.dry_run else "Cancelled; rows that were applied stay"
    step = f"vecferry {'status' if done.migration.step == 'indexed' else 'start'} {args.collection}"
    if args.dry_run:
        step = f"vecferry cancel {args.collection}"
    return Result(
        data={"collection": args.collection, "dry_run": args.dry_run, "runs": done.runs, "migration": done.migration},
        tables=(facts_table(title, facts),),
        next_steps=(step,),
    )
