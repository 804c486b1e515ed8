"""``vecferry cutover``."""

from __future__ import annotations

import argparse

from ..journal.lease import Lease
from ..journal.route import Route
from ..migration.context import open_context
from ..migration.cutover import Move, move_reads, moves_back, preview_move
from ..migration.gates import Verdict
from ..migration.phase import CANARY_PERCENTS, steps_past
from .options import add_collection, add_dry_run, config_of, log_of
from .output import Console, Result
from .shown import facts_table, gate_exit_code, gate_problems, gate_table

HELP = "move a share of the reads to the target, if every gate passes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument("--to", metavar="PERCENT", type=_percent, required=True, help="share of the keys, 0 to 100")
    add_dry_run(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Move the route; exit 3 when a gate fails, 4 when one is not known."""
    return move(args, console, args.to, f"cutover {args.collection} --to {args.to}")


def move(args: argparse.Namespace, console: Console, percent: int, command: str, *, force: bool = False) -> Result:
    """Move the route to ``percent``, or say whether it could be moved; ``rollback`` is this with 0."""
    config, name = config_of(args), args.collection

    def warn(problem: str) -> None:
        console.say(f"vecferry: warning: {problem}")

    # What must hold depends on the direction, so it is asked for by the move.
    with log_of(config) as log, open_context(config, name, log, checked=False) as context:
        if args.dry_run:
            done = preview_move(context, percent, force=force, say=warn)
        else:
            urgent = moves_back(context, percent)
            with Lease(config, name, context.control, log, command=command, urgent=urgent) as lease:
                done = move_reads(context, lease, percent, force=force, say=warn)
    return _result(args, percent, done)


def _result(args: argparse.Namespace, percent: int, done: Move) -> Result:
    passed = done.verdict is Verdict.PASS
    moved = passed and done.moves and not args.dry_run
    route = done.after if moved else done.before
    facts = {
        "reads on": ", ".join(f"{store} {route.share(store)} %" for store in (done.source, done.target)),
        "generation": route.generation,
    }
    title = _title(done, percent, moved=moved, dry_run=args.dry_run)
    return Result(
        data={
            "collection": args.collection,
            "dry_run": args.dry_run,
            "moved": moved,
            "verdict": done.verdict.value,
            "route": _shown(done, route),
            "gates": done.gates,
        },
        tables=(facts_table(title, facts), *((gate_table("Gates", done.gates),) if done.gates else ())),
        problems=gate_problems(done.gates),
        next_steps=_next(args, percent, done, moved=moved),
        exit_code=0 if passed else gate_exit_code(done.gates),
    )


def _shown(done: Move, route: Route) -> dict[str, object]:
    """The route as scripts know it: two stores, and the share of the second."""
    ends = {"old": done.source, "new": done.target, "percent": route.share(done.target)}
    return {**route.model_dump(mode="json", exclude={"weights"}), **ends, "weights": route.weights}


def _title(done: Move, percent: int, *, moved: bool, dry_run: bool) -> str:
    if not done.moves:
        return f"Reads already are at {percent} %"
    if dry_run:
        would = "would" if done.verdict is Verdict.PASS else "would not"
        return f"Reads {would} move to {percent} %; nothing was changed"
    return "Reads moved" if moved else "Reads not moved"


def _next(args: argparse.Namespace, percent: int, done: Move, *, moved: bool) -> tuple[str, ...]:
    if done.verdict is not Verdict.PASS:
        forced = (f"vecferry rollback {args.collection} --force",) if args.command == "rollback" else ()
        return (*steps_past(args.collection, done.gates), *forced)
    if not done.moves:
        return (f"vecferry status {args.collection}",)
    if not moved:
        if args.command == "cutover":
            return (f"vecferry cutover {args.collection} --to {percent}",)
        return (f"vecferry rollback {args.collection}{' --force' if args.force else ''}",)
    higher = [step for step in CANARY_PERCENTS if step > percent]
    if percent == 0 or not higher:
        return (f"vecferry status {args.collection}",)
    return (f"vecferry cutover {args.collection} --to {higher[0]}", f"vecferry rollback {args.collection}")


def _percent(text: str) -> int:
    percent = int(text) if text.isdecimal() else -1
    if not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 to 100")
    return percent
