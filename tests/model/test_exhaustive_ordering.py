"""No loss, no resurrection, no regress: every interleaving of every scenario, through the package's own functions."""

from __future__ import annotations

import sys

import pytest
from ordering_model.explorer import explore
from ordering_model.model import Model, Scenario
from ordering_model.rules import REAL
from ordering_model.scenarios import FULL, QUICK


def hold(scenario: Scenario, least_states: int) -> None:
    report = explore(Model(scenario, REAL))
    sys.stdout.write(f"\n{scenario.name}: {report}\n")
    assert not report.traces, str(report)
    assert report.states >= least_states, "the model has shrunk"
    assert report.finished, "nothing ever finished, so nothing was compared"


@pytest.mark.parametrize(("scenario", "least_states"), QUICK, ids=[scenario.name for scenario, _ in QUICK])
def test_the_rules_hold(scenario: Scenario, least_states: int) -> None:
    hold(scenario, least_states)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "least_states"), FULL, ids=[scenario.name for scenario, _ in FULL])
def test_the_rules_hold_under_faults(scenario: Scenario, least_states: int) -> None:
    hold(scenario, least_states)
