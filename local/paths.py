"""Where the local servers keep what they download and what they store."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ..errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[1]


def home() -> Path:
    """The one folder for everything downloaded or stored: ``VECFERRY_HOME``, else ``~/.cache/vecferry``."""
    chosen = os.environ.get("VECFERRY_HOME")
    return Path(chosen).expanduser().resolve() if chosen else Path.home() / ".cache" / "vecferry"


def services_dir(name: str | None) -> Path:
    """The folder of one set of servers, made if absent.

    ``None`` means the set of this checkout, so that several checkouts run side by side. Raises ``ConfigError`` for a
    name that is not a plain file name.
    """
    name = set_name(name)
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", name):
        raise ConfigError(f"name of a set of servers: {name!r} is not a plain file name; use letters, digits, - and _")
    directory = home() / "services" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def set_name(name: str | None) -> str:
    """``name``, or for ``None`` twelve hex digits that stand for this checkout's path."""
    return hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:12] if name is None else name
