"""The allocator's settings, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from vecferry.heap import keep_freed_buffers
if "keep" in sys.argv:
    assert keep_freed_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch = [bytearray(24 << 20) for _ in range(3)]
    del batch
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*argv: str) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS, *argv], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_a_buffer_that_was_freed_is_used_again() -> None:
    assert faults("keep") < faults() / 2
