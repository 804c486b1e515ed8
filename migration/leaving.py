"""Rows of the source that the log cannot carry: found and listed before a copy, which stops or leaves them behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..backfill.context import Mover
from ..backfill.progress import OnProgress
from ..backfill.screening import Uncarried, screen
from ..compare.uncarried import counted
from ..errors import Refused
from ..wording import count
from .listing import listing

Say = Callable[[str], None]


class LeftBehind:
    """What is to become of such rows: ``skip`` leaves them behind. ``file`` lists them, None lists nowhere."""

    def __init__(self, *, skip: bool, file: Path | None) -> None:
        self.skip = skip
        self._file = file

    def look(self, mover: Mover, say: Say, report: OnProgress) -> None:
        """Read the source once and list what cannot be carried; raises Refused if there is any and it is not skipped.

        Blocks. The file is written anew; for a source without such rows there is none.
        """
        context = mover.context
        with listing(self._file) as write:
            causes = screen(mover, (context.target,), lambda found: write(_document(found)), report)
        if not causes:
            if self._file is not None:
                self._file.unlink(missing_ok=True)
            return
        found = f"{context.source} holds {count(sum(causes.values()), 'row')} that cannot be copied: {counted(causes)}"
        listed = "" if self._file is None else f"; {self._file} lists them"
        if self.skip:
            say(f"{found}; leaving them behind{listed}")
            return
        start = f"vecferry start {context.name}"
        raise Refused(
            f"{found}{listed}; publish those ids with values that can be copied, or their deletes, and run `{start}` "
            f"again; or leave them behind with `{start} --skip-uncarried`"
        )


def _document(found: Uncarried) -> dict[str, object]:
    return {
        "id": found.id,
        "cause": found.obstacle.cause.value,
        "reason": found.obstacle.detail,
        "position": found.position,
    }
