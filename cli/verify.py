"""``vecferry verify``."""

from __future__ import annotations

import argparse

from ..journal.lease import Lease
from ..migration.context import open_context
from ..migration.verifying import verify_replicas
from ..wording import count
from .options import add_collection, config_of, log_of
from .output import Console, Result, Table
from .progress import reporting
from .shown import facts_table

HELP = "compare the content of both stores while writes go on"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument(
        "--sample",
        metavar="SHARE",
        type=_share,
        help="compare a random share of the ids, 0 to 1 (does not pass the gate)",
    )


def run(args: argparse.Namespace, console: Console) -> Result:
    """Compare; exit 0 when nothing differs, 1 when something does, 4 when rows are undecided."""
    config = config_of(args)
    with (
        log_of(config) as log,
        open_context(config, args.collection, log) as context,
        Lease(config, args.collection, context.control, log, command=f"verify {args.collection}") as lease,
        reporting(console) as on_progress,
    ):
        report, record = verify_replicas(context, lease, sample=args.sample, on_progress=on_progress)
    differing = record.differing
    code = 1 if differing else 4 if record.undecided else 0
    counts = ("checked", "missing", "extra", "stale", "corrupt", "undecided")
    examples = [
        (example.id, example.fault.value, example.source_position, example.target_position, example.reason)
        for example in report.examples
    ]
    columns = ("id", "fault", f"position in {record.source}", f"position in {record.target}", "reason")
    return Result(
        data={"collection": args.collection, "report": report},
        tables=(
            facts_table(
                f"{record.source} and {record.target}, {report.seconds:.1f} s",
                {count: getattr(record, count) for count in counts},
            ),
            *((Table(title="Examples", columns=columns, rows=examples),) if examples else ()),
        ),
        problems=(f"{count(differing, 'row')} {'differs' if differing == 1 else 'differ'}",)
        if differing
        else (f"{count(record.undecided, 'row')} undecided",)
        if record.undecided
        else (),
        next_steps=(f"vecferry status {args.collection}",)
        if record.clean
        else (*((f"vecferry dlq list {args.collection}",) if differing else ()), f"vecferry verify {args.collection}"),
        exit_code=code,
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return share
