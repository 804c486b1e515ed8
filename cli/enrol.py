"""``vecferry enrol``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict

from ..migration.enrol import Enrolment, enrol, owner_statements
from .options import add_collection, add_dry_run, config_of, log_of
from .output import Console, Result
from .shown import facts_table, remarks_tables, statements_table

HELP = "make the topics, prepare both stores, and fix where their consumer groups begin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    add_dry_run(parser)
    parser.add_argument(
        "--sql",
        action="store_true",
        help="print what the owner of the tables runs, where the configured user may only read and write rows",
    )


def run(args: argparse.Namespace, console: Console) -> Result:
    """Enrol, or say what enrolling would do."""
    config = config_of(args)
    with log_of(config) as log:
        if args.sql:
            return _sql(args.collection, owner_statements(config, args.collection, log))
        done = enrol(config, args.collection, log, dry_run=args.dry_run)
    if args.dry_run:
        steps: tuple[str, ...] = (f"vecferry enrol {args.collection}",)
    elif _changed_nothing(done):
        steps = (f"vecferry status {args.collection}",)
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
        tables=(
            facts_table(title, facts),
            *((statements_table(done.statements),) if args.dry_run else ()),
            *remarks_tables(done.remarks),
        ),
        next_steps=steps,
    )


def _changed_nothing(done: Enrolment) -> bool:
    return not (done.topics or any(done.statements.values()))


def _sql(collection: str, statements: Mapping[str, tuple[str, ...]]) -> Result:
    """SQL as it can be given to ``psql``, one block per store."""
    lines = []
    for store, texts in statements.items():
        lines.append(f"-- store {store}: {'run this as the owner of its table' if texts else 'nothing is left to run'}")
        lines += [f"{text};" for text in texts]
    return Result(
        data={"collection": collection, "statements": statements},
        tables=(),
        text="".join(f"{line}\n" for line in lines),
        next_steps=(f"vecferry enrol {collection}",),
    )
