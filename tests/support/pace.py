"""What makes a whole run of the tests short on two cores; hooks of pytest for ``tests/conftest.py``."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parents[1]
# Begun last, a file of minutes leaves the other worker idle at the end. Longest first; the rest follows as collected.
LONGEST_FIRST = (
    "examples/test_demo_sabotage.py",
    "e2e/test_kills.py",
    "examples/test_demo_run.py",
    "e2e",
    "migration",
    "house/test_wheel.py",
    "cli",
    "model",
    "consumers",
    "docs",
)

# Each of these starts half a dozen processes and takes a small machine for itself. Two at once starve each other, so
# one worker has them all, from the beginning on, while the other has the rest.
DEMANDING = ("examples/test_demo_sabotage.py", "examples/test_demo_run.py", "e2e")

# No example has a time limit: a busy machine is no fault. `./run test quick` asks for its profile by name; `./run test`
# tries as many examples as each test says.
settings.register_profile("whole", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("whole")

# Imports and collection make millions of objects that stay: looking for garbage among them takes a third of their time.
gc.set_threshold(100_000, 50, 100)


def place(path: Path) -> int:
    """Where a test file comes in the order of :data:`LONGEST_FIRST`."""
    for number, name in enumerate(LONGEST_FIRST):
        if path.is_relative_to(TESTS / name):
            return number
    return len(LONGEST_FIRST)


def group(path: Path) -> str:
    """What stays with one worker: all demanding files together, every other file by itself."""
    name = path.relative_to(TESTS).as_posix()
    return "demanding" if name.startswith(DEMANDING) else name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first; within a file nothing changes."""
    items.sort(key=lambda item: place(item.path))
    if getattr(config.option, "loadgroup", False):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(group(item.path)))


def pytest_collection_finish() -> None:
    """What is there now stays until the end."""
    gc.collect()
    gc.freeze()
