"""``vecferry replay``."""

from __future__ import annotations

import argparse

from ..journal.lease import Lease
from ..migration.context import open_context
from ..migration.outcome import outcome_of
from ..migration.replaying import preview_replay, replay
from .options import add_collection, add_dry_run, add_timeout, config_of, log_of
from .output import Console, Result
from .progress import reporting
from .shown import facts_table, letter_problems, run_facts, statements_table

HELP = "fill another store from a closed run and the live topic"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument("--run", metavar="RUN", required=True, help="a closed run, as `topics` and `status` name it")
    parser.add_argument("--into", metavar="STORE", required=True, help="a store that the collection has a placement in")
    add_dry_run(parser)
    add_timeout(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Replay, or say what replaying would do."""
    config = config_of(args)
    config.placement(args.collection, args.into)
    with log_of(config) as log, open_context(config, args.collection, log) as context:
        if args.dry_run:
            plan = preview_replay(context, args.run, args.into)
            facts = {"run": plan.run.run, "state": plan.run.state, "rows": plan.run.rows, "into": plan.into}
            return Result(
                data={"dry_run": True, "plan": plan},
                tables=(facts_table("Replaying would do this", facts), statements_table({plan.into: plan.statements})),
                next_steps=(f"vecferry replay {args.collection} --run {args.run} --into {args.into}",),
            )
        with (
            Lease(config, args.collection, context.control, log, command=f"replay {args.collection}") as lease,
            reporting(console) as on_progress,
        ):
            record = replay(
                context,
                lease,
                args.run,
                args.into,
                say=console.say,
                on_progress=on_progress,
                timeout_s=args.timeout,
            )
            outcome = outcome_of(context, args.run, args.into)
    problems = letter_problems(args.collection, outcome)
    return Result(
        data={"dry_run": False, "run": record, "into": args.into, "outcome": outcome},
        tables=(facts_table("Replayed", {**run_facts(record.run, outcome), "into": args.into}),),
        problems=problems,
        next_steps=(f"vecferry {'dlq list' if problems else 'status'} {args.collection}",),
        exit_code=1 if problems else 0,
    )
