"""The only writer of the control topic. It never overwrites a record that a later version wrote."""

from __future__ import annotations

from collections.abc import Mapping

from ..log.port import Encodable, Table, Writer
from .kinds import kind_of
from .reading import require


class GuardedWriter:
    """Passes records to ``writer`` unless they would replace an Unknown record of ``control``; thread-safe.

    ``control`` must already show every record written before ``writer`` took over. After that only ``writer`` writes.
    """

    def __init__(self, writer: Writer, control: Table) -> None:
        self._writer = writer
        self._control = control

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        """As ``Writer.write``. Raises Refused, and writes nothing, if it would replace an Unknown record."""
        for key in records:
            kind = kind_of(key)
            if kind is not None:
                require(self._control, key, kind)
        self._writer.write(records)

    def close(self) -> None:
        """As ``Writer.close``."""
        self._writer.close()
