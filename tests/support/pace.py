"""What makes a whole run of the tests short on two cores; hooks of pytest for ``tests/conftest.py``."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

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


class ByFile(LoadScopeScheduling):
    """A file stays with one worker; all demanding files are one unit. (xdist's own groups are lost on pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0].removeprefix("tests/")
        return "demanding" if path.startswith(DEMANDING) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile | None:
    """Whole files per worker when ``--dist loadfile`` is asked for; otherwise as xdist does it."""
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; within a file nothing changes."""
    items.sort(key=lambda item: place(item.path))


def pytest_collection_finish() -> None:
    """What is there now stays until the end."""
    gc.collect()
    gc.freeze()
