"""A file system of a few megabytes, which fills, turns read-only and grows when a test says so. Mounting takes root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs at ``folder``."""

    folder: Path

    def fill(self) -> Path:
        """Take all that is free, as another program may, and what came free since; returns the file that does."""
        filler = self.folder / "of-another-program"
        with filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return filler

    def remount(self, options: str) -> None:
        """``ro``, ``rw`` or ``size=8m``."""
        _run("mount", "-o", f"remount,{options}", str(self.folder))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounted at ``folder`` while the block runs."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "-l", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
