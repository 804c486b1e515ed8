"""The exhaustive check is strong enough: it catches every wrong rule, and each in the way it is known to be wrong."""

from __future__ import annotations

import sys

import pytest
from ordering_model.explorer import explore
from ordering_model.model import Model, Scenario
from ordering_model.mutations import MUTATIONS, Mutation
from ordering_model.rules import REAL

SCENARIOS = sorted({mutation.scenario for mutation in MUTATIONS}, key=lambda scenario: scenario.name)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_wrong_rule_is_caught(mutation: Mutation) -> None:
    """The report, printed, holds the shortest way to each harm."""
    report = explore(Model(mutation.scenario, mutation.rules), stop_at=mutation.kinds)
    sys.stdout.write(f"\n{mutation.name}: {report}\n")
    assert mutation.kinds <= report.traces.keys(), str(report)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_it_is_the_rule_and_not_the_scenario_that_is_wrong(scenario: Scenario) -> None:
    report = explore(Model(scenario, REAL))
    assert not report.traces, str(report)
