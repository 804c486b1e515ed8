"""The store in memory as a kind of the store suites: for modules that say ``MEMORY_TOO``; see ``store_factory``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

SERVER = False


def place(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """Each handle is a place of its own."""
    yield {}
