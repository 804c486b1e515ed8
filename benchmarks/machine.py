"""What the machine gives: memory, and a second core."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

GIVEN_BYTES = 1 << 30  # above what one side of a benchmark takes, the files that it leaves in the page cache included
LEFT_FREE_BYTES = 512 << 20
CACHED_BYTES = 4 << 30
STEP_BYTES = 256 << 20
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
LOOPS = 5_000_000
SPIN = f"""
import time
began, total = time.perf_counter(), 0
for number in range({LOOPS}):
    total += number
print(time.perf_counter() - began)
"""


@contextmanager
def memory_in_use() -> Iterator[None]:
    """Leave hardly any memory free, on a virtual machine under Linux; elsewhere do nothing.

    The host of a virtual machine may take back what is free for some seconds, and to have it given again costs ten
    times as much as to use it: 2.3 ms for a MiB of a file that is written instead of 0.2, on whichever side needs more.
    So some of what is free becomes page cache, for Linux to write the files of the benchmark into, and the rest is
    held. Takes half a minute for 16 GiB. What is left is for :func:`have_memory_given`.
    """
    with tempfile.TemporaryFile() as hole, ExitStack() as held:
        if _may_be_held():
            _read_hole(hole.fileno(), min(CACHED_BYTES, _bytes("MemFree") // 2))
            while _bytes("MemFree") > LEFT_FREE_BYTES and _bytes("MemAvailable") > CACHED_BYTES // 2:
                held.callback(_touched(STEP_BYTES).close)
        yield


def have_memory_given() -> None:
    """Touch memory and let it go, so that what comes next takes memory that the host of a virtual machine has given."""
    _touched(GIVEN_BYTES).close()


def spin(processes: int) -> float:
    """Loops per second of the slowest of so many processes that compute at once, and do nothing else."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) for _ in range(processes)]
    return min(LOOPS / float(process.communicate()[0]) for process in running)


def _may_be_held() -> bool:
    """Whether a hypervisor says that it is there, and no limit of a container lies below the machine's memory."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or " hypervisor" not in cpuinfo.read_text():
        return False
    limits = [file.read_text().strip() for file in LIMITS if file.exists()]
    return all(limit == "max" or int(limit) >= _bytes("MemTotal") for limit in limits)


def _bytes(name: str) -> int:
    """A line of /proc/meminfo."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _touched(size: int) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)  # Linux alone has the last
    return mmap.mmap(-1, size, flags=flags)


def _read_hole(file: int, size: int) -> None:
    """Read an empty file of ``size`` bytes: it takes page cache, and no disk."""
    os.ftruncate(file, size)
    while os.read(file, 1 << 20):
        pass
