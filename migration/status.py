"""``status``: one collection's migration at a glance, from facts alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config import GatesSection
from ..journal.migration import VerifyRecord
from ..schemas.collection import Replica
from ..schemas.dead_letters import parse_origin
from ..stores.base import Size
from .facts import Facts
from .gates import BEAT_TIMEOUT_S, GateResult, Verdict, beat_age_s, cutover_gates, lag_gate, lag_records
from .phase import next_steps, phase_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """One replica; ``store`` is its name, ``state`` is loading or complete, as its workers report.

    ``lag_records`` and ``beat_age_s`` are None while no worker has reported every partition.
    """

    store: str
    role: str
    lag_records: int | None
    verdict: Verdict
    beat_age_s: float | None
    workers: int
    state: str
    complete_partitions: int
    dead_letters: int
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The copy. ``applied_partitions``: those whose part of this run the target has applied to its end."""

    run: str
    state: str
    chunks_done: int
    chunks: int
    rows: int
    percent: float
    applied_partitions: int
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What ``vecferry status`` shows. ``percent`` of the reads go to the target; ``step`` is that of ``start``.

    ``size`` is what the target takes, None where it cannot be told.
    """

    collection: str
    phase: str
    step: str
    percent: int
    generation: int
    cutovers: int
    rollbacks: int
    stores: tuple[StoreStatus, ...]
    run: RunStatus | None
    verification: VerifyRecord | None
    verification_age_s: float | None
    controller: str
    size: Size | None
    gates: tuple[GateResult, ...]
    next_steps: tuple[str, ...]


def summarise(facts: Facts, limits: GatesSection) -> Status:
    """The status of ``facts``."""
    gates = cutover_gates(facts, limits)
    route, migration, verify = facts.route, facts.migration, facts.verify
    return Status(
        collection=facts.collection,
        phase=phase_of(migration, route),
        step="" if migration is None else migration.step,
        percent=facts.percent,
        generation=0 if route is None else route.generation,
        cutovers=0 if migration is None else migration.cutovers,
        rollbacks=0 if migration is None else migration.rollbacks,
        stores=(_store(facts, facts.source, limits), _store(facts, facts.target, limits)),
        run=_run(facts),
        verification=verify,
        verification_age_s=None if verify is None else facts.now_unix_s - verify.finished_unix_s,
        controller=_controller(facts),
        size=facts.size,
        gates=gates,
        next_steps=next_steps(facts, gates),
    )


def _store(facts: Facts, replica: Replica, limits: GatesSection) -> StoreStatus:
    store = replica.name
    live = facts.live.get(store, {})
    complete = sum(progress.complete for progress in live.values())
    alive = [
        worker
        for worker in facts.workers.get(store, {}).values()
        if abs(facts.now_unix_s - worker.beat_unix_s) <= BEAT_TIMEOUT_S
    ]
    outcomes: dict[str, int] = {}
    for worker in alive:
        for counts in (worker.live, worker.snapshot):
            for outcome, count in counts.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
    return StoreStatus(
        store=store,
        role=replica.role,
        lag_records=lag_records(facts, replica),
        verdict=lag_gate(facts, replica, limits).verdict,
        beat_age_s=beat_age_s(live, facts.now_unix_s),
        workers=len(alive),
        state="complete" if complete == facts.partitions else "loading",
        complete_partitions=complete,
        dead_letters=sum(parse_origin(key).store == store for key in facts.dead_letters or ()),
        outcomes=outcomes,
    )


def _run(facts: Facts) -> RunStatus | None:
    run = facts.run
    if run is None:
        return None
    closed = run.state == "closed"
    # The estimate may have been too low; only a closed run is at 100 %.
    share = 100.0 * facts.run_rows_done / max(1, run.estimated_rows)
    return RunStatus(
        run=run.run,
        state=run.state,
        chunks_done=facts.run_chunks_done,
        chunks=run.chunks,
        rows=run.rows if closed else facts.run_rows_done,
        percent=100.0 if closed else min(99.9, share),
        applied_partitions=facts.run_applied,
        partitions=facts.partitions,
    )


def _controller(facts: Facts) -> str:
    record = facts.controller
    if record is None:
        return ""
    age_s = facts.now_unix_s - record.beat_unix_s
    return f"{record.command}, process {record.pid} on {record.host}, {age_s:.0f} s ago"
