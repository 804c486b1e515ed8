"""What a table takes on a local disk, and the files of it that only old versions use. A bucket has no such limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_NEWEST_FIRST = 2**64 - 1  # Lance names a manifest by this minus its version, so that the newest is listed first
_DIGITS = 20
_BLOCK = 512  # the unit of st_blocks
_FILE = "file://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes on a disk: what the table takes, and what is free for it."""

    used: int
    free: int


def folder_of(uri: str, table: str) -> Path | None:
    """The folder of ``table``, or None for an address of an object store."""
    path = uri.removeprefix(_FILE)
    return None if "://" in path else Path(path) / f"{table}.lance"


def space_of(folder: Path) -> Space | None:
    """None when there is no such folder. Files may come and go meanwhile."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return Space(used=sum(_sizes(folder)), free=free)


def drop_superseded(
    folder: Path, kept_versions: Collection[int], *, unnamed_before_unix_s: float, since_unix_s: float
) -> int:
    """Delete the data files that only old versions name; returns how many. Writes nothing, so a full disk is no matter.

    The newest version, ``kept_versions``, and those that were the newest at ``since_unix_s`` or later stay whole.
    A file that no version names may belong to a write that another process has begun: it goes only if it was last
    written before ``unnamed_before_unix_s``. Old versions lose their
    rows, and Lance's own cleaning removes what is left of them. Does nothing to a table with branches, whose versions
    are kept elsewhere.
    """
    if (folder / "tree").exists():
        return 0
    files = list((folder / "data").iterdir())  # before the manifests: what comes later is not looked at
    manifests = {version: path for path in (folder / "_versions").iterdir() if (version := _version(path)) is not None}
    if not manifests:
        return 0
    kept = {max(manifests), *kept_versions, *_newest_since(manifests, since_unix_s)} & manifests.keys()
    named = b"".join(manifests[version].read_bytes() for version in kept)
    superseded = b"".join(_read(path) for version, path in manifests.items() if version not in kept)
    dropped = [
        file
        for file in files
        if (name := file.name.encode()) not in named
        and (name in superseded or _written_unix_s(file) < unnamed_before_unix_s)
    ]
    for file in dropped:
        file.unlink(missing_ok=True)
    return len(dropped)


def _newest_since(manifests: Mapping[int, Path], since_unix_s: float) -> Iterator[int]:
    """The versions that another one took the place of at ``since_unix_s`` or later."""
    for version, successor in pairwise(sorted(manifests)):
        if _written_unix_s(manifests[successor]) >= since_unix_s:
            yield version


def _sizes(folder: Path) -> Iterator[int]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield _taken(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue


def _taken(status: os.stat_result) -> int:
    """Whole blocks: of a table with many small files that is more than their lengths."""
    return getattr(status, "st_blocks", -(-status.st_size // _BLOCK)) * _BLOCK


def _written_unix_s(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _version(path: Path) -> int | None:
    if path.suffix != ".manifest" or not path.stem.isdigit():
        return None
    return _NEWEST_FIRST - int(path.stem) if len(path.stem) == _DIGITS else int(path.stem)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
