"""What the machine gives: memory, and a second core."""

from __future__ import annotations

import mmap
import subprocess
import sys

GIVEN_BYTES = 1 << 30  # above what one side of a benchmark takes, the files that it leaves in the page cache included
LOOPS = 5_000_000
SPIN = f"""
import time
began, total = time.perf_counter(), 0
for number in range({LOOPS}):
    total += number
print(time.perf_counter() - began)
"""


def have_memory_given() -> None:
    """Touch memory and let it go, so that what comes next takes memory that the host of a virtual machine has given."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)  # Linux alone has the last
    mmap.mmap(-1, GIVEN_BYTES, flags=flags).close()


def spin(processes: int) -> float:
    """Loops per second of the slowest of so many processes that compute at once, and do nothing else."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) for _ in range(processes)]
    return min(LOOPS / float(process.communicate()[0]) for process in running)
