"""A compacted topic of a log in memory as a table: read at every access, or only on ``sync``."""

from __future__ import annotations

from collections.abc import Callable

from ...clock import Clock
from ...errors import Unavailable
from ..port import SYNC_TIMEOUT_S, TopicAbsent
from .broker import Broker, Record
from .consumer import refuse_absent

_LOOK_S = 0.05


class MemoryTable:
    """See :class:`~vecferry.log.port.Table`. What is appended shows at the next ``sync``, ``wait_for`` or ``catch_up``.

    So a simulation decides when a process learns of a record, as a slow network would.
    """

    def __init__(self, broker: Broker, topic: str, clock: Clock) -> None:
        self._broker = broker
        self._place = (topic, 0)
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._next = 0
        self._closed = False
        self._read = False
        self.changes = 0
        self.ended = False

    def catch_up(self) -> None:
        """Take in all that is there."""
        try:
            partition = self._broker.partition(self._place)
        except TopicAbsent:
            self.ended = True
            raise
        for offset in range(max(self._next, partition.begin), partition.stable):
            record = self._broker.read(self._place, offset)
            assert record is not None
            key = (record.key() or b"").decode()
            if record.value() is None:
                self._records.pop(key, None)
            else:
                self._records[key] = record
            self.changes += 1
        self._next = partition.stable
        self._read = True

    def get(self, key: str) -> bytes | None:
        record = self._record(key)
        return None if record is None else record.value()

    def items(self, prefix: str) -> dict[str, bytes]:
        self._refuse_unread()
        found = {key: record.value() for key, record in self._records.items() if key.startswith(prefix)}
        return {key: value for key, value in found.items() if value is not None}

    def headers(self, key: str) -> dict[str, bytes]:
        record = self._record(key)
        return {} if record is None else {name: value or b"" for name, value in record.headers()}

    def _record(self, key: str) -> Record | None:
        record = self._records.get(key)
        if record is None:
            self._refuse_unread()
        return record

    def _refuse_unread(self) -> None:
        if not self._read:
            raise Unavailable(f"topic {self._place[0]} was not read to its end yet")

    def sync(self, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        del timeout_s  # nothing to wait for
        if self._closed:
            raise Unavailable("this table is closed")
        refuse_absent(self._broker, self._place[0])
        self.catch_up()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        until_s = self._clock.monotonic_s() + timeout_s
        while not self._closed:
            self.catch_up()
            if condition():
                return True
            if self._clock.monotonic_s() >= until_s:
                break
            self._clock.sleep_s(_LOOK_S)
        return False

    def close(self) -> None:
        self._closed = True
