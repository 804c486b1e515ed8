"""The runs that one store is to read."""

from __future__ import annotations

from ..log.port import Table
from ..schemas.control import RunRecord, run_key


class OpenRuns:
    """The runs of ``collection`` into ``store_name``; cheap to ask in every turn. Used by one thread."""

    def __init__(self, control: Table, collection: str, store_name: str) -> None:
        self._control = control
        self._collection = collection
        self._store_name = store_name
        self._changes = -1
        self._runs: tuple[RunRecord, ...] = ()

    def __call__(self) -> tuple[RunRecord, ...]:
        """By name; cancelled ones are left out."""
        changes = self._control.changes  # before the records: what arrives in between is seen the next time
        if changes != self._changes:
            records = sorted(self._control.items(run_key(self._collection)).items())
            runs = (RunRecord.model_validate_json(value) for _, value in records)
            self._runs = tuple(run for run in runs if self._store_name in run.targets and run.state != "cancelled")
            self._changes = changes
        return self._runs
