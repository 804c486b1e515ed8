"""What stands in a configuration for what lies elsewhere: ``${ENV}`` inside a text, ``file:PATH`` for all of it.

``Resolved``, ``Secret`` and ``Deferred`` are types for fields of pydantic models. Validation of the first two reads the
environment and the file; what cannot be found is an error of the field, which shows nothing of a secret. A ``Deferred``
one is read by :func:`resolve` when it is used: a process that never uses it needs no access to it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, SecretStr

_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolve(text: str) -> str:
    """``${ENV}`` and ``file:`` references replaced by what they stand for; raises ValueError without their content."""
    if text.startswith("file:"):
        path = Path(local_path(text.removeprefix("file:")))
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"cannot read {path}: it is not UTF-8 text") from error

    def look_up(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set")
        return os.environ[name]

    return _ENV.sub(look_up, text)


def local_path(path: str) -> str:
    """``path`` with a ``~`` or ``~user`` at its beginning replaced by that home; raises ValueError if there is none."""
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ValueError(f"{path} names no home directory; write the path in full, or ./~ for a file of that name")
    return found


def _resolve(value: object) -> object:
    return resolve(value) if isinstance(value, str) else value


def _text(value: object) -> object:
    """Client properties may be written as TOML numbers and booleans; librdkafka takes text."""
    if isinstance(value, bool):
        return str(value).lower()
    return _resolve(str(value) if isinstance(value, (int, float)) else value)


Resolved = Annotated[str, BeforeValidator(_resolve)]
Secret = Annotated[SecretStr, BeforeValidator(_text)]
Deferred = SecretStr
