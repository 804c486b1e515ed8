"""The demo's modules import each other as a folder that is run does; so do its tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_process import Demo
from vecferry.local.services import Addresses

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"

if str(DEMO) not in sys.path:
    sys.path.append(str(DEMO))


@pytest.fixture
def demo(server_addresses: Addresses, tmp_path: Path) -> Iterator[Demo]:
    """A demo to run, against the servers of the test session."""
    one = Demo(server_addresses, tmp_path)
    yield one
    one.close()
