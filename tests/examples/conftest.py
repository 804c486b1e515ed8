"""The demo, as the tests run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_process import Demo
from vecferry.local.services import Addresses


@pytest.fixture
def demo(server_addresses: Addresses, tmp_path: Path) -> Iterator[Demo]:
    """A demo to run, against the servers of the test session."""
    one = Demo(server_addresses, tmp_path)
    yield one
    one.close()
