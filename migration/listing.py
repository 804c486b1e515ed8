"""A file of JSON lines for what is too long for a screen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import Refused

Write = Callable[[Mapping[str, object]], None]


@contextmanager
def listing(path: Path | None) -> Iterator[Write]:
    """A function that adds one document to ``path``, which is written anew; None writes nowhere.

    Raises Refused, with the remedy, when the file cannot be written.
    """
    if path is None:
        yield lambda document: None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _refusal(path, error) from error

    def write(document: Mapping[str, object]) -> None:
        try:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
        except OSError as error:
            raise _refusal(path, error) from error

    with file:
        yield write


def _refusal(path: Path, error: OSError) -> Refused:
    return Refused(f"{path} cannot be written ({error.strerror}); name another file, or free some space")
