"""Named places where a test may kill this process, as a power cut would.

``VECFERRY_FAILPOINT=backfill.produced:3`` kills the process with SIGKILL the third time that place is passed.
Unset, as in production, :func:`hit` compares one string with ``None``.
"""

from __future__ import annotations

import os
import signal

_ARMED, _, _COUNT = (os.environ.get("VECFERRY_FAILPOINT") or "").partition(":")
_remaining = int(_COUNT or "1")


def hit(name: str) -> None:
    """Die here if the environment armed the place called ``name``."""
    global _remaining
    if name != _ARMED:
        return
    _remaining -= 1
    if _remaining <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
