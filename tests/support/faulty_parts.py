"""Parts that are wrong on purpose: a simulation must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from killing import Touch, TouchedStore
from memory_store import MemoryStore
from vecferry.consumers.ordering import Absent
from vecferry.errors import Unavailable
from vecferry.reads.deadline import Deadline
from vecferry.reads.watermarks import Lag, Watermarks
from vecferry.schemas.batch import EventBatch, Op, Outcome, Rows
from vecferry.stores.base import Cursor
from vecferry.stores.key_ranges import KeyRange


class Unguarded(MemoryStore):
    """Writes whatever it is given, as a store does that does not compare positions."""

    def _state(self, id_: str) -> Absent:
        return Absent()


class Forgetful(MemoryStore):
    """Does not remember what was deleted."""

    def _apply_row(self, batch: EventBatch, row: int) -> Outcome:
        outcome = super()._apply_row(batch, row)
        if Op(int(batch.ops[row])) is Op.DELETE:
            self.rows.pop(batch.ids[row], None)
        return outcome


class FencedLate(TouchedStore):
    """A mover's way to its source whose scans show what was there when it connected: the fences are noted later."""

    def __init__(self, inner: MemoryStore, touch: Touch) -> None:
        super().__init__(inner, touch)
        self._then = MemoryStore(inner.collection)
        self._then.rows = dict(inner.rows)

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        self._touch()
        yield from self._then.scan(chunk, page_rows)


class Skipping(TouchedStore):
    """A mover's way to its source that shows nothing of one chunk: the last one."""

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        if KeyRange.of(chunk).upper is not None:
            yield from super().scan(chunk, page_rows)


class Rushing(Watermarks):
    """Lets reads move to a store that has not caught up."""

    def catch_up(
        self, stores: Iterable[str], deadline: Deadline, given_up: Callable[[], bool] = lambda: False
    ) -> Lag | None:
        del stores, deadline, given_up
        return None


class Credulous(Watermarks):
    """Takes what the client says in place of an offset that Kafka did not tell for one."""

    def ends(self, deadline: Deadline) -> dict[int, int]:
        try:
            return super().ends(deadline)
        except Unavailable:
            return {0: -1001}


class Impatient(Watermarks):
    """Does not wait for the writes that a read asks for."""

    def lag(self, store: str, wanted: Mapping[int, int]) -> Lag | None:
        del store, wanted
        return None
