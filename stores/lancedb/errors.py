"""Maps Lance's exceptions to vecferry's.

Lance reports nearly every error as ValueError, RuntimeError or OSError with a text. So the table matches the text; the
first match counts, and an error without a match is Fatal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import Fatal, Overloaded, Rejected, Transient, Unavailable, VecferryError

DISK_PAUSE_S = 10.0


class Gone(Transient):
    """Files of the version that was read are gone, most likely cleaned up: the latest version has what is needed."""


_TABLE: tuple[tuple[str, type[VecferryError]], ...] = (
    (r"commit conflict|preempted by concurrent|too many concurrent writers|concurrent modification", Transient),
    (r"no space left|disk quota exceeded", Overloaded),
    (r"permission denied|read-only file system|operation not permitted|not a directory|file exists", Unavailable),
    (r"unauthorized|access ?denied|invalid credentials|bucket .*not found|no such bucket", Unavailable),
    (r"timed? ?out|timeout|connection (?:reset|refused|closed)|error sending request", Transient),
    (r"too many open files|resource temporarily unavailable|interrupted", Transient),
    (r"table '.*' was not found", Unavailable),
    (r"version \d+ no longer exists|no such file or directory|object at location .* not found|not found: .*", Gone),
    (r"failed to encode json|size of fixedsizelist|invalid utf-?8|would truncate|could not convert", Rejected),
    (r"unicode(?:en|de)codeerror", Rejected),
    (r"cannot be converted|type mismatch|schema mismatch|not castable|arrowinvalid|arrowtypeerror", Rejected),
)
ERRORS: tuple[tuple[re.Pattern[str], type[VecferryError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in _TABLE
)


def mapped(error: Exception, where: str) -> VecferryError:
    """``error`` as an error of vecferry; ``where`` names the table and its directory."""
    if isinstance(error, VecferryError):
        return error
    found = f"{type(error).__name__}: {error}"
    kind = next((kind for pattern, kind in ERRORS if pattern.search(found)), Fatal)
    message = f"{where}: {found}"
    if kind is Overloaded:
        return Overloaded(f"{message}; free some disk space", retry_after_s=DISK_PAUSE_S)
    if kind is Unavailable:
        return Unavailable(f"{message}; check that it exists and that this process may read and write it")
    return kind(message)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn exceptions of the block into errors of vecferry."""
    try:
        yield
    except VecferryError:
        raise
    except Exception as error:
        raise mapped(error, where) from error
