"""Control topic, ``migration/<c>`` and ``verify/<c>``: how far a migration is, and its last verification."""

from __future__ import annotations

from typing import Literal

from .record import Record


class MigrationRecord(Record):
    """One collection's migration, step by step. ``kept_run``: while a further run is copied, the one before it, which
    the target has applied whole, with the step that it had reached.
    """

    source: str
    target: str
    step: Literal["enrolled", "copying", "copied", "indexed"]
    run: str | None = None
    started_unix_s: float
    cutovers: int = 0
    rollbacks: int = 0
    kept_run: str | None = None
    kept_step: Literal["copied", "indexed"] | None = None


def migration_key(collection: str) -> str:
    """Key of MigrationRecord."""
    return f"migration/{collection}"


class VerifyRecord(Record):
    """The last verification. ``complete`` is False for one that was cut short or sampled.

    ``run``: the newest run that the target had applied before the comparison began, "" if not recorded. ``skipped``:
    rows that the log cannot carry and the run left behind on purpose; they are no fault.
    """

    source: str
    target: str
    finished_unix_s: float
    complete: bool
    checked: int
    missing: int
    extra: int
    stale: int
    corrupt: int
    undecided: int
    run: str = ""
    skipped: int = 0

    @property
    def differing(self) -> int:
        """Rows that were found to differ."""
        return self.missing + self.extra + self.stale + self.corrupt

    @property
    def clean(self) -> bool:
        """Nothing differs and nothing was left out."""
        return self.complete and not (self.differing or self.undecided)

    def displaces(self, known: VerifyRecord | None) -> bool:
        """Whether this verification replaces ``known``, the one on record.

        It does if it decided every row or found faults. Otherwise it was a sample or left rows undecided: it then
        replaces neither faults nor a clean result of the same run. A clean result of an earlier run no longer counts.
        """
        if known is None or (known.source, known.target) != (self.source, self.target):
            return True
        if self.differing or self._decided_all:
            return True
        return not known.differing and not (known._decided_all and known.run == self.run)

    @property
    def _decided_all(self) -> bool:
        return self.complete and not self.undecided


def verify_key(collection: str) -> str:
    """Key of VerifyRecord."""
    return f"verify/{collection}"
