"""Whole migrations under 100 seeds: workers, mover, controllers and readers, each killed or held up at any step."""

from __future__ import annotations

import pytest
from faulty_parts import Credulous, FencedLate, Forgetful, Impatient, Rushing, Skipping, Unguarded
from migration_simulation import MigrationSimulation

SEEDS = range(100)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed >= 8 else ()) for seed in SEEDS])
def test_a_migration_keeps_its_promises(seed: int) -> None:
    MigrationSimulation(seed).run()


def test_a_seed_reproduces_its_run() -> None:
    first, second = MigrationSimulation(7), MigrationSimulation(7)
    first.run()
    second.run()
    assert first.history == second.history
    assert [store.rows.keys() for store in first.stores.values()] == [s.rows.keys() for s in second.stores.values()]


@pytest.mark.slow
def test_the_seeds_lead_to_where_faults_would_be() -> None:
    told, taken_up, rereads = "", 0, 0
    for seed in SEEDS[:40]:
        simulation = MigrationSimulation(seed)
        simulation.run()
        told += "\n".join(simulation.history)
        taken_up += sum(run.generation > 1 for run in simulation.runs())
        rereads += sum(app.reader.stats.rereads for app in simulation.apps)
    expected = ("start was killed", "cutover --to 100 was killed", "cancel is done", "is steered by", "has taken over")
    assert [text for text in expected if text not in told] == []
    assert taken_up > 0, "no run was taken up by another mover"
    assert rereads > 0, "no route has moved under a read"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"stores": Unguarded},
        {"stores": Forgetful},
        {"way": FencedLate},
        {"way": Skipping},
        {"progress": Rushing},
        {"progress": Credulous},
        {"progress": Impatient},
    ],
    ids=lambda fault: next(iter(fault.values())).__name__,
)
def test_a_planted_fault_is_found(fault: dict[str, type]) -> None:
    def is_found(seed: int) -> bool:
        try:
            MigrationSimulation(seed, **fault).run()
        except AssertionError:
            return True
        return False

    assert any(is_found(seed) for seed in SEEDS)
