"""``vecferry plan``."""

from __future__ import annotations

import argparse

from ..config import Config
from ..migration.context import open_context
from ..migration.plan import StartPlan
from ..migration.previewing import preview_start
from ..wording import count, mib
from .options import add_collection, config_of, log_of
from .output import Console, Result, Table
from .shown import facts_table, remarks_tables, statements_table

HELP = "show what `start` would do; change nothing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Print the plan."""
    return show_plan(config_of(args), args.collection)


def show_plan(config: Config, collection: str, *, new_run: bool = False) -> Result:
    """The plan as a result; ``start --dry-run`` prints it too."""
    with log_of(config) as log, open_context(config, collection, log) as context:
        plan = preview_start(context, new_run=new_run)
    return Result(
        data={"plan": plan},
        tables=(
            _facts(plan),
            _steps(plan),
            statements_table({plan.target: plan.statements}),
            *remarks_tables(plan.remarks),
        ),
        next_steps=(f"vecferry start {collection}{' --new-run' if new_run else ''}",)
        if plan.steps
        else (f"vecferry status {collection}",),
    )


def _facts(plan: StartPlan) -> Table:
    facts: dict[str, object] = {
        "from": f"{plan.source} (guarantee {plan.guarantees[plan.source]})",
        "to": f"{plan.target} (guarantee {plan.guarantees[plan.target]})",
        "run": plan.run or "a new one",
        "rows": plan.rows,
        "chunks": f"{plan.chunks} of about {count(plan.chunk_rows, 'row')}",
        "partitions": plan.partitions,
        "vectors": f"{mib(plan.vector_bytes)}, once in the snapshot topic and once in {plan.target}",
    }
    if plan.max_growth is not None:
        most = mib(int(plan.vector_bytes * plan.max_growth))
        facts["disk"] = f"{plan.target} takes at most {plan.max_growth:g} times a fresh copy: {most} for the vectors"
    return facts_table(f"Plan of {plan.collection}", facts)


def _steps(plan: StartPlan) -> Table:
    return Table(title="Steps", columns=("step", "what"), rows=list(enumerate(plan.steps, start=1)))
