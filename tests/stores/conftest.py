"""``store_factory``: a real store of every registered kind, in a place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from store_factory import StoreFactory, harness
from vecferry.stores.registry import KINDS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for ``store_factory`` once per kind (``store_kind``), unless it names its kinds.

    A module that says ``MEMORY_TOO = True`` holds the store of ``tests/support/memory_store.py`` to its tests as well.
    """
    if "store_kind" not in metafunc.fixturenames or any(
        "store_kind" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        return
    tested = [kind for kind in KINDS if find_spec(f"harness_{kind}")]  # test_store_registry fails for the others
    if getattr(metafunc.module, "MEMORY_TOO", False):
        tested.append("memory")
    kinds = [pytest.param(kind, marks=[pytest.mark.server] if harness(kind).SERVER else []) for kind in tested]
    metafunc.parametrize("store_kind", kinds)


@pytest.fixture
def store_factory(request: pytest.FixtureRequest, store_kind: str) -> Iterator[StoreFactory]:
    """See ``StoreFactory``: ``store_factory(collection, placement, existing=None)`` gives a store ready for use."""
    place = harness(store_kind).place(request)
    factory = StoreFactory(kind=store_kind, options=next(place))
    yield factory
    factory.close()
    for _ in place:
        raise AssertionError("place() yields once")
