"""No kind of store without the contract suite."""

from __future__ import annotations

import pytest
from store_factory import harness
from vecferry.stores.registry import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_harness_for_the_contract_suite(kind: str) -> None:
    found = harness(kind)
    assert isinstance(found.SERVER, bool)
    assert callable(found.place)
    assert callable(found.make_existing)
    assert callable(found.physical_rows)
