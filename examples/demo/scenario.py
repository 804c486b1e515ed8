"""The steps of a run, each as its reader would take it by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

from vecferry.proof.catalogue import create_table, load
from vecferry.proof.copying import Copy
from vecferry.proof.report import Report
from vecferry.proof.run import Run
from vecferry.proof.view import State
from vecferry.proof.world import World

from .data import configuration
from .options import Options

CUTOVERS = (5, 25, 50, 100)
KILL_WORKER_AT, KILL_COPY_AT = 25.0, 55.0  # per cent of the copy
UNCOMMITTED = 10  # events that the killed worker leaves to be read again
TRIES = 5
STEP_ANSWERS, CANARY_STEP_ANSWERS = 50, 5  # of the store that gained reads, before the next step


def migrate(options: Options, world: World, state: State, report: Report, say: Callable[[str], None]) -> list[str]:
    """The whole migration; fills in ``report`` and returns examples of what was wrong."""
    catalogue = load(options.data, options.rows)
    world.config_file.write_text(configuration(world, catalogue, options.copy_s))
    create_table(world.postgres, catalogue, say)
    with Run(world, catalogue, sabotage=options.sabotage, state=state, report=report, say=say) as run:
        say("enrolling the application's table")
        run.command("enrol")
        run.observe(options.seed)
        start_traffic(run, options)
        copied_s = copy(run)
        if verify_stores(run):
            for percent in (*CUTOVERS, 0, 100):
                move(run, percent, options.step_s)
        else:
            run.command("cutover", "--to", "5", fine=(3,))
            say("cutover refused by the verification gate; on to the final comparison")
        say("writers stop; waiting until both stores have applied everything")
        run.drain()
        return run.judge(copied_s)


def start_traffic(run: Run, options: Options) -> None:
    """A worker per store, writers and readers, and meanwhile ``vecferry plan``."""
    run.say(f"starting a worker per store, {options.writers} writers ({options.rate:g}/s), {options.readers} readers")
    run.start_load(
        data=str(options.data.resolve()),
        rows=options.rows,
        writers=options.writers,
        readers=options.readers,
        rate=options.rate,
        seed=options.seed,
    )
    plan = run.command("plan").data["plan"]
    run.say(f"plan: {plan['rows']} rows in {plan['chunks']} chunks")
    run.await_traffic()


def copy(run: Run) -> tuple[float, float]:
    """``vecferry start``, during which the new store's worker and then the copy itself are killed with -9.

    Returns when it began and ended, in Unix seconds.
    """
    run.state.phase = "1 dual write and backfill"
    run.say("copying what the application already has")
    start = Copy(run)
    worker = copier = 0  # the killed processes
    while start.is_running():
        percent = start.percent
        if not worker and (
            percent >= KILL_COPY_AT or (percent >= KILL_WORKER_AT and run.watch.uncommitted("new") >= UNCOMMITTED)
        ):
            worker = run.kill_worker("new")
            run.say(f"kill -9 of the new store's worker, process {worker}, at {percent:.0f} %; another one starts")
        if not copier and percent >= KILL_COPY_AT and not start.ended_s:
            copier = start.kill()
            run.say(f"kill -9 of the copy, process {copier}, at {percent:.0f} %; the same command again")
        run.pause()
    seconds = start.finish()
    run.say(f"copied {run.report['backfill']['rows']} rows in {seconds:.1f} s, applied and indexed")
    return start.began_s, start.ended_s


def verify_stores(run: Run) -> bool:
    """``vecferry verify``; whether the two stores hold the same."""
    run.say("comparing both stores while writes go on")
    for attempt in range(1, TRIES + 1):
        answer = run.command("verify", fine=(0, 1) if attempt == TRIES else (0, 1, 4))
        if answer.code != 4:
            break
    found = answer.data["report"]
    counts = {name: found[name] for name in ("missing", "extra", "stale", "corrupt")}
    run.report["verify"] = counts
    run.say(f"verified {found['checked']} rows: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    for example in found["examples"][:3]:
        run.say(f"  {example['id']}: {example['fault']}, {example['reason']}")
    return answer.code == 0


def move(run: Run, percent: int, step_s: float) -> None:
    """``vecferry cutover --to PERCENT``, or ``rollback`` for 0; then let the new route serve for a while."""
    words = ("cutover", "--to", str(percent)) if percent else ("rollback",)
    for attempt in range(1, TRIES + 1):
        answer = run.command(*words, fine=(0,) if attempt == TRIES else (0, 3, 4))
        if answer.code == 0:
            break
        run.say(f"{words[0]} has to wait: {answer.problem or 'a gate'}")
        time.sleep(1.0)
    route = answer.data["route"]
    run.note_move(percent, route)
    run.say(f"{words[0]}: reads are {percent} % on new (generation {route['generation']})")
    answers = CANARY_STEP_ANSWERS if 0 < percent < 100 else STEP_ANSWERS
    run.serve("new" if percent else "old", route["generation"], answers=answers, at_least_s=step_s)
