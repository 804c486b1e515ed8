"""The one way to write the control topic: nothing that a later version wrote is written over."""

from __future__ import annotations

from collections.abc import Mapping

from ..log.port import Encodable, Table, Writer
from .kinds import kind_of
from .reading import require


class GuardedWriter:
    """Writes by ``writer`` what does not replace an Unknown record of ``control``; thread-safe.

    ``control`` must show all that was written before ``writer`` took over: after that nobody else writes.
    """

    def __init__(self, writer: Writer, control: Table) -> None:
        self._writer = writer
        self._control = control

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        """As ``Writer.write``. Raises Refused, and writes nothing, when a record to replace is not known."""
        for key in records:
            kind = kind_of(key)
            if kind is not None:
                require(self._control, key, kind)
        self._writer.write(records)

    def close(self) -> None:
        """As ``Writer.close``."""
        self._writer.close()
