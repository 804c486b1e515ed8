"""``vecferry verify``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from ..backfill.verification import VerifyReport
from ..compare.verdict import Difference, Fault
from ..journal.lease import Lease
from ..journal.migration import VerifyRecord
from ..migration.context import open_context
from ..migration.listing import listing
from ..migration.verifying import verify_replicas
from ..wording import count
from .options import add_collection, config_of, log_of
from .output import Console, Result, Table
from .progress import reporting
from .shown import facts_table

_SHOWN = 5

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
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write everything that is found to FILE, one JSON object per line"
    )


def run(args: argparse.Namespace, console: Console) -> Result:
    """Compare; exit 0 when nothing differs, 1 when something does, 4 when rows are undecided."""
    config = config_of(args)
    with (
        log_of(config) as log,
        open_context(config, args.collection, log) as context,
        Lease(config, args.collection, context.control, log, command=f"verify {args.collection}") as lease,
        listing(args.out) as write,
        reporting(console) as on_progress,
    ):
        report, record = verify_replicas(
            context,
            lease,
            sample=args.sample,
            on_progress=on_progress,
            on_difference=lambda found: write(_listed(found)),
        )
    return result_of(args.collection, report, record, args.out)


def result_of(collection: str, report: VerifyReport, record: VerifyRecord, out: Path | None) -> Result:
    """What is printed; ``out`` holds all that was found."""
    differing = record.differing
    found = {fault: number for fault in Fault if (number := getattr(record, fault.value))}
    tables = [facts_table(f"{record.source} and {record.target}, {report.seconds:.1f} s", _counts(record))]
    if found:
        tables += [_examples(report, record, out), _ways_out(collection, found)]
    problems: tuple[str, ...] = ()
    if differing:
        problems = (f"{count(differing, 'row')} {'differs' if differing == 1 else 'differ'}",)
    elif record.undecided:
        problems = (f"{count(record.undecided, 'row')} undecided",)
    again = f"vecferry verify {collection}" + (" --out differences.jsonl" if differing and out is None else "")
    letters = (f"vecferry dlq list {collection}",) if record.missing or record.stale else ()
    return Result(
        data={"collection": collection, "report": report},
        tables=tuple(tables),
        problems=problems,
        next_steps=(f"vecferry status {collection}",) if record.clean else (*letters, again),
        exit_code=1 if differing else 4 if record.undecided else 0,
    )


def _counts(record: VerifyRecord) -> dict[str, object]:
    return {"checked": record.checked, **{fault.value: getattr(record, fault.value) for fault in Fault}}


def _examples(report: VerifyReport, record: VerifyRecord, out: Path | None) -> Table:
    rows = [
        (example.id, fault.value, example.source_position, example.target_position, example.reason)
        for fault in Fault
        for example in [found for found in report.examples if found.fault is fault][:_SHOWN]
    ]
    columns = ("id", "fault", f"position in {record.source}", f"position in {record.target}", "reason")
    all_of_them = "--out FILE lists all" if out is None else f"{out} lists all"
    return Table(title=f"Examples, up to {_SHOWN} of each kind; {all_of_them}", columns=columns, rows=rows)


def _ways_out(collection: str, found: Mapping[Fault, int]) -> Table:
    letters = f"`vecferry dlq list {collection}`"
    ways = {
        Fault.MISSING: f"{letters} says whether the target refused the row; else publish the id again",
        Fault.EXTRA: "publish the delete of the id, or its row if it should be there",
        Fault.STALE: f"{letters} says whether a store refused the newer state; else publish the id again",
        Fault.CORRUPT: "publish the id again: a write went past the log, and another copy would not replace it; a "
        "position beyond the end of the log, or an id held twice, must first be removed from that store",
        Fault.UNDECIDED: f"compare again: `vecferry status {collection}` shows a worker that does not keep up",
        Fault.SKIPPED: "publish the id with values that can be copied, or leave it: it does not count as a difference",
    }
    return Table(title="Ways out", columns=("fault", "do"), rows=[(fault.value, ways[fault]) for fault in found])


def _listed(found: Difference) -> dict[str, object]:
    return {
        "id": found.id,
        "class": found.fault.value,
        "source_position": found.source_position,
        "target_position": found.target_position,
        "reason": found.reason,
    }


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return share
