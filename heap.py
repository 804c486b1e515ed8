"""How the C library's allocator treats large buffers."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_KEPT_BYTES = 1 << 30
_LARGEST_BYTES = 32 << 20  # glibc takes no larger one


def keep_freed_buffers() -> bool:
    """Let glibc keep what is freed for the next batch, instead of giving it back and having it zeroed anew.

    A worker and a copy allocate and free buffers of megabytes for every batch; a good part of their time would go into
    page faults. One arena serves all threads: Lance merges each batch in other threads than the last, and in an arena
    of its own each of them would touch as much new memory again. Holds for the whole process, so it is for those that
    are ours alone, before Arrow is imported and threads allocate. Returns whether the C library has such settings;
    without them nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own allocator gives back what is freed
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_ARENA_MAX, 1))
    return all(mallopt(name, value) for name, value in settings)
