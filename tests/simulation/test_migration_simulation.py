"""Whole migrations under 100 seeds: workers, mover, controllers and readers, each killed or held up at any step."""

from __future__ import annotations

import pytest
from faulty_parts import FencedLate, Forgetful, Impatient, Rushing, Skipping, Unguarded
from migration_simulation import MigrationSimulation

SEEDS = range(100)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed >= 20 else ()) for seed in SEEDS])
def test_a_migration_keeps_its_promises(seed: int) -> None:
    MigrationSimulation(seed).run()


def test_a_seed_reproduces_its_run() -> None:
    first, second = MigrationSimulation(7), MigrationSimulation(7)
    first.run()
    second.run()
    assert first.history == second.history
    assert [store.rows.keys() for store in first.stores.values()] == [s.rows.keys() for s in second.stores.values()]


@pytest.mark.parametrize(
    "fault",
    [
        {"stores": Unguarded},
        {"stores": Forgetful},
        {"way": FencedLate},
        {"way": Skipping},
        {"progress": Rushing},
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
