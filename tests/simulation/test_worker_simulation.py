"""Real workers under 100 seeds: killed and redelivered at any step, with late writes, resets and a run beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from faulty_parts import Forgetful, Unguarded
from memory_store import MemoryStore
from simulation import Simulation
from vecferry.schemas.batch import LiveMark

SEEDS = range(100)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed >= 10 else ()) for seed in SEEDS])
def test_nothing_is_lost_comes_back_or_goes_back(seed: int) -> None:
    Simulation(seed).run()


def test_a_seed_reproduces_its_run() -> None:
    first, second = Simulation(7), Simulation(7)
    first.run()
    second.run()
    assert first.history == second.history
    assert first.store.rows.keys() == second.store.rows.keys()


class Hasty(MemoryStore):
    """Marks more than it was given."""

    def _mark(self, mark: object) -> None:
        hasty = replace(mark, next_offset=mark.next_offset + 1) if isinstance(mark, LiveMark) else mark
        super()._mark(hasty)  # type: ignore[arg-type]


@pytest.mark.parametrize("faulty", [Unguarded, Forgetful, Hasty])
def test_a_planted_fault_is_found(faulty: type[MemoryStore]) -> None:
    def is_found(seed: int) -> bool:
        try:
            Simulation(seed, faulty).run()
        except AssertionError:
            return True
        return False

    assert any(is_found(seed) for seed in SEEDS)
