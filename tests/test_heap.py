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


_IN_OTHER_THREADS = """
import resource, sys, threading
from vecferry.heap import keep_freed_buffers
if "keep" in sys.argv:
    assert keep_freed_buffers()
turns = [threading.Semaphore(1), *(threading.Semaphore(0) for _ in range(4))]
def allocate(number):
    for _ in range(2):
        turns[number].acquire()
        batch = [bytearray(1 << 20) for _ in range(16)]
        del batch
        turns[number + 1].release()
threads = [threading.Thread(target=allocate, args=(number,)) for number in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for thread in threads:
    thread.start()
for _ in range(2):
    turns[4].acquire()
    turns[0].release()
for thread in threads:
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of glibc")


def faults(program: str, *argv: str) -> int:
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_buffer_that_was_freed_is_used_again() -> None:
    assert faults(_FAULTS, "keep") < faults(_FAULTS) / 2


def test_a_buffer_that_one_thread_freed_is_used_by_the_next() -> None:
    once = 16 * (1 << 20) // 4096
    assert faults(_IN_OTHER_THREADS, "keep") < 2 * once < faults(_IN_OTHER_THREADS)
