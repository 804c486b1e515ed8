"""``vecferry doctor``."""

from __future__ import annotations

import argparse

from ..migration.doctor import examine
from .options import add_collection, config_of
from .output import Console, Result
from .shown import gate_exit_code, gate_problems, gate_table

HELP = "check topics, groups and stores; every refusal names its remedy"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Run every check; exit 0 when all pass, 3 when one fails, 4 when one is not known."""
    checks = examine(config_of(args), args.collection)
    code = gate_exit_code(checks)
    return Result(
        data={"collection": args.collection, "checks": checks},
        tables=(gate_table(f"Preflight of {args.collection}", checks),),
        problems=gate_problems(checks),
        next_steps=(f"vecferry status {args.collection}",) if code == 0 else (f"vecferry doctor {args.collection}",),
        exit_code=code,
    )
