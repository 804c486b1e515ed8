"""``./run demo``: move a live catalogue from PostgreSQL/pgvector to LanceDB under traffic, and check every promise."""

from __future__ import annotations

import json
import signal
import sys

from vecferry import VecferryError
from vecferry.proof import report as reports
from vecferry.proof.processes import RunError
from vecferry.proof.report import Report
from vecferry.proof.view import State, View
from vecferry.proof.world import world

from .options import Options, parse
from .scenario import migrate

_FAILED, _INTERRUPTED = 1, 130


def main() -> int:
    """Run and return the exit code."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: everything is cleaned up
    report, state = reports.empty(), State()
    try:
        with View(state, "vecferry demo") as view, world(view.say, keep=options.keep) as around:
            problems = migrate(options, around, state, report, view.say)
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; everything that it started has ended\n")
        return _INTERRUPTED
    except (RunError, VecferryError) as error:
        sys.stderr.write(f"demo: the run could not be finished: {error}\n")
        return _FAILED
    report["seconds"] = state.seconds
    return conclude(options, view, report, problems)


def conclude(options: Options, view: View, report: Report, problems: list[str]) -> int:
    """Print the table and the verdict, write the report file; returns the exit code."""
    view.table("Report", ("figure", "value", "must be"), list(reports.rows(report)))
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    found = reports.findings(report, problems)
    for line in found or [reports.PROMISED]:
        sys.stdout.write(f"{line}\n")
    if options.sabotage is not None:
        noticed = "was noticed, as it must be" if reports.faults(report) else "was NOT noticed"
        view.last(f"Sabotage {options.sabotage} {noticed}.")
    return _FAILED if found else 0


if __name__ == "__main__":
    sys.exit(main())
