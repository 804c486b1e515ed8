"""The phase and the next command follow from the facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from migration_facts import NEW, NOW_S, OLD, ready, report
from vecferry.config import GatesSection
from vecferry.journal.controller import ControllerRecord
from vecferry.journal.progress import WorkerProgress
from vecferry.journal.route import between
from vecferry.migration.facts import Facts
from vecferry.migration.gates import Verdict, cutover_gates
from vecferry.migration.phase import CUTOVER, DUAL_WRITE, NOT_ENROLLED, next_steps, phase_of
from vecferry.migration.status import summarise

LIMITS = GatesSection()


def at_step(facts: Facts, step: str, **update: object) -> Facts:
    assert facts.migration is not None
    return replace(facts, migration=facts.migration.model_copy(update={"step": step, **update}))


def at_percent(facts: Facts, percent: int) -> Facts:
    assert facts.route is not None
    return replace(facts, route=facts.route.model_copy(update={"weights": between("old", "new", percent)}))


def test_the_phase_is_named_as_people_know_it() -> None:
    facts = ready()
    assert phase_of(None, None) == NOT_ENROLLED
    assert phase_of(facts.migration, facts.route) == DUAL_WRITE == "1 Dual write and backfill"
    assert phase_of(facts.migration, at_percent(facts, 5).route) == CUTOVER == "3 Cutover"
    rolled_back = at_step(facts, "indexed", cutovers=1, rollbacks=1)
    assert phase_of(rolled_back.migration, rolled_back.route) == CUTOVER


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(ready(), migration=None, route=None), ("vecferry enrol products",)),
        (at_step(ready(), "enrolled"), ("vecferry start products",)),
        (
            replace(at_step(ready(), "enrolled"), live={}),
            ("vecferry worker --store old", "vecferry worker --store new", "vecferry start products"),
        ),
        (replace(ready(), live={"old": ready().live["old"]}), ("vecferry worker --store new",)),
        (replace(ready(), verify=None), ("vecferry verify products",)),
        (ready(), ("vecferry cutover products --to 1",)),
        (at_percent(ready(), 7), ("vecferry cutover products --to 25",)),
        (replace(ready(), index_ready=False), ("vecferry start products",)),
        (replace(ready(), dead_letters=("new/t/0/1/0",)), ("vecferry dlq list products",)),
        (replace(ready(), dead_letters=("new/t/0/1/0",), verify=None), ("vecferry dlq list products",)),
        (replace(ready(), begin=(99, 0)), ("vecferry doctor products",)),
        (replace(ready(), begin=(99, 0), live={"old": ready().live["old"]}), ("vecferry doctor products",)),
        (replace(ready(), end=(5000, 50)), ("vecferry status products --watch",)),
        (at_percent(ready(), 100), ()),
    ],
)
def test_the_next_command(facts: Facts, expected: tuple[str, ...]) -> None:
    assert next_steps(facts, cutover_gates(facts, LIMITS)) == expected


def test_status_adds_up() -> None:
    counts = WorkerProgress(
        beat_unix_s=NOW_S - 1, live={"applied": 3}, snapshot={"applied": 4, "stale": 1}, redelivered=0
    )
    gone = counts.model_copy(update={"beat_unix_s": NOW_S - 60})
    facts = replace(
        ready(),
        workers={"old": {}, "new": {"a": counts, "b": gone}},
        dead_letters=("new/t/0/1/0",),
        controller=ControllerRecord(instance="i", host="h", pid=7, command="start products", beat_unix_s=NOW_S - 2),
    )
    status = summarise(facts, LIMITS)
    old, new = status.stores
    assert (old.store, old.workers, old.verdict, old.lag_records) == ("old", 0, Verdict.PASS, 0)
    assert (new.lag_records, new.workers, new.complete_partitions, new.dead_letters) == (2, 1, 2, 1)
    assert new.outcomes == {"applied": 7, "stale": 1}
    assert status.run is not None
    assert (status.run.percent, status.run.rows, status.run.applied_partitions) == (100.0, 7, 2)
    assert status.verification_age_s == 5
    assert status.controller == "start products, process 7 on h, 2 s ago"


def test_a_further_run_is_not_called_applied_because_an_earlier_one_was() -> None:
    status = summarise(replace(ready(), run_applied=1), LIMITS)
    assert status.run is not None
    assert (status.run.applied_partitions, status.stores[1].complete_partitions) == (1, 2)


def test_an_open_run_is_never_at_a_hundred_percent() -> None:
    facts = ready()
    assert facts.run is not None
    copying = replace(facts, run=facts.run.model_copy(update={"state": "copying"}), run_rows_done=9)
    status = summarise(copying, LIMITS)
    assert status.run is not None
    assert status.run.percent == 99.9
    assert status.run.rows == 9


def test_a_worker_that_is_silent_makes_the_lag_inconclusive() -> None:
    facts = replace(ready(), live={"old": {0: report(100, age_s=34), 1: report(50, age_s=34)}})
    old = summarise(facts, LIMITS).stores[0]
    assert old.verdict is Verdict.INCONCLUSIVE
    assert old.beat_age_s == 34


def test_a_replica_is_loading_until_every_partition_is_complete() -> None:
    assert [at.state for at in summarise(ready(), LIMITS).stores] == ["complete", "complete"]
    loading = {**ready().live, "new": {0: report(98), 1: report(50, complete=False)}}
    assert [at.state for at in summarise(replace(ready(), live=loading), LIMITS).stores] == ["complete", "loading"]


def test_a_command_names_the_store_and_a_gate_the_replica_that_lies_in_it() -> None:
    lake = {"source": replace(OLD, store="lake"), "target": replace(NEW, store="lake")}
    silent = replace(ready(), live={}, **lake)  # type: ignore[arg-type]
    status = summarise(silent, LIMITS)
    assert status.next_steps == ("vecferry worker --store lake",)
    assert [at.store for at in status.stores] == ["old", "new"]
    lags = {gate.name: gate for gate in status.gates if gate.name.startswith("lag of ")}
    assert set(lags) == {"lag of old", "lag of new"}
    assert lags["lag of new"].measured == "no worker of store new has ever reported"
    assert {gate.remedy for gate in lags.values()} == {"start `vecferry worker --store lake`"}


def test_a_worker_that_runs_is_not_to_be_started() -> None:
    heard = WorkerProgress(beat_unix_s=NOW_S - 1, live={}, snapshot={}, redelivered=0)
    silent = replace(ready(), live={"old": {}, "new": {}})
    assert "vecferry worker --store old" in next_steps(silent, cutover_gates(silent, LIMITS))
    running = replace(silent, workers={"old": {"vm-7": heard}, "new": {"vm-8": heard}})
    gates = cutover_gates(running, LIMITS)
    assert not [step for step in next_steps(running, gates) if "vecferry worker" in step]
    lags = [gate for gate in gates if gate.name.startswith("lag of")]
    assert [gate.remedy for gate in lags] == [
        f"its worker runs ({name}); its log says what it waits for" for name in ("vm-8", "vm-7")
    ]
    assert {gate.verdict for gate in lags} == {Verdict.INCONCLUSIVE}
