"""``./run demo``: move a live catalogue from PostgreSQL/pgvector to LanceDB under traffic, and check every promise."""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import ExitStack, closing

import report as reports
from catalogue import COLLECTION, create_table
from holdings import NewStore, OldStore
from options import Options, parse
from poller import Poller
from processes import DemoError, Fleet
from report import Report
from scenario import CUTOVERS, Scenario
from vecferry import VecferryError
from verdict import final_comparison, judge_reads
from view import State, View, every
from watch import Watch
from workload import Popularity
from world import World, world

_HOT_IDS = 60
_FAILED, _INTERRUPTED = 1, 130


def main() -> int:
    """Run and return the exit code."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: everything is cleaned up
    report, state = reports.empty(), State()
    try:
        with View(state) as view, world(options, view.say) as around:
            problems = run(options, around, view, state, report)
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; everything that it started has ended\n")
        return _INTERRUPTED
    except (DemoError, VecferryError) as error:
        sys.stderr.write(f"demo: the run could not be finished: {error}\n")
        return _FAILED
    report["seconds"] = state.seconds
    return conclude(options, view, report, problems)


def run(options: Options, around: World, view: View, state: State, report: Report) -> list[str]:
    """The whole migration; fills in ``report`` and returns examples of what was wrong."""
    create_table(around.postgres, around.catalogue, view.say)
    popularity = Popularity(len(around.catalogue.ids), options.seed)
    hot = [around.catalogue.ids[row] for row in popularity.order[:_HOT_IDS]]
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(around.directory, around.config_file, options.sabotage))
        view.say("enrolling the application's table")
        enrolled = fleet.command("enrol", COLLECTION)
        if enrolled.code != 0:
            raise DemoError(f"enrol ended with {enrolled.code}: {enrolled.said}")
        watch = stack.enter_context(closing(Watch(around.config)))
        old = stack.enter_context(closing(OldStore(around.postgres)))
        new = stack.enter_context(closing(NewStore(around.lance)))
        scenario = Scenario(options, around, fleet, watch, state, report, view.say)
        stop = stack.enter_context(_stopped_at_the_end())
        with Poller([old, new], hot) as poller:
            every(1.0, stop, lambda: _refresh(state, watch, poller)).start()
            migrate(options, scenario)
        stop.set()
        if poller.failure is not None:
            raise DemoError(f"stored positions could not be read: {poller.failure!r}")
        view.say("comparing both stores with the ledger of acknowledged writes")
        contents = around.catalogue.contents()
        window_s = (scenario.copy_began_s, scenario.copy_ended_s)
        examples = final_comparison(report, contents, around.ledgers, [old, new], window_s)
        examples += judge_reads(report, state.reads, contents, around.ledgers, around.sightings)
        take_figures(report, state, scenario, watch, poller)
        return [*examples, *poller.regressions.examples, *state.writes["failures"][:5]]


def migrate(options: Options, scenario: Scenario) -> None:
    """From an enrolled table to a new store that serves every read, by way of back again."""
    writers, readers = scenario.set_going()
    scenario.copy()
    if scenario.verify():
        for percent in (*CUTOVERS, 0, 100):
            scenario.move(percent)
    else:
        scenario.is_refused()
    scenario.drain(writers, readers)


def take_figures(report: Report, state: State, scenario: Scenario, watch: Watch, poller: Poller) -> None:
    """What was counted while the run was under way."""
    outcomes = {store: watch.outcomes(store) for store in ("old", "new")}
    exposure = report["exposure"]
    exposure["stale_snapshot_rows"] = {"stale": outcomes["new"].stale, "superseded": outcomes["new"].superseded}
    exposure["stale_snapshot_rows_refused"] = outcomes["new"].stale + outcomes["new"].superseded
    exposure["redelivered"] = sum(counted.redelivered for counted in outcomes.values())
    exposure["polls"] = poller.looks
    report["writes"]["failed"] = len(state.writes["failures"])
    report["regressed"] = poller.regressions.count
    report["route_flip_p99_ms"] = reports.percentile(scenario.flips_ms(), 0.99)
    report["publish_call_p50_us"] = state.writes["publish_call_p50_us"]


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


def _refresh(state: State, watch: Watch, poller: Poller) -> None:
    state.lag = watch.lag()
    state.regressed = poller.regressions.count


class _stopped_at_the_end:
    """An event that is set on leaving, so that helper threads end however the run does."""

    def __enter__(self) -> threading.Event:
        self._event = threading.Event()
        return self._event

    def __exit__(self, *_: object) -> None:
        self._event.set()


if __name__ == "__main__":
    sys.exit(main())
