"""``vecferry doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..migration.doctor import examine
from ..migration.gates import GateResult, Verdict
from .options import add_collection, config_of, log_of
from .output import Console, Result
from .shown import gate_exit_code, gate_problems, gate_table

HELP = "check topics, groups and stores; every refusal names its remedy"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Run every check; exit 0 when all pass, 3 when one fails, 4 when one is not known."""
    config = config_of(args)
    with log_of(config) as log:
        checks = examine(config, args.collection, log)
    code = gate_exit_code(checks)
    return Result(
        data={"collection": args.collection, "checks": checks},
        tables=(gate_table(f"Preflight of {args.collection}", checks, kind="check"),),
        problems=gate_problems(checks),
        next_steps=(_next(args.collection, checks),),
        exit_code=code,
    )


def _next(collection: str, checks: Sequence[GateResult]) -> str:
    if gate_exit_code(checks) == 0:
        return f"vecferry status {collection}"
    failed = [check for check in checks if check.verdict is Verdict.FAIL]
    enrol = f"vecferry enrol {collection}"
    # What enrolling mends: the topics may be there already, made by hand.
    first = [check for check in failed if not check.remedy.startswith(f"run `{enrol}`")]
    if failed and not first:
        return f"{enrol} --dry-run"
    if first and all(f"`{enrol} --sql`" in check.measured for check in first):
        return f"{enrol} --sql"
    return f"vecferry doctor {collection}"
