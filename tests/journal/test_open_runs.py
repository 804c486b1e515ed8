"""Which runs a store is to read, and how seldom the control topic's table is searched for them."""

from __future__ import annotations

from typing import Literal, cast

from vecferry.journal.run import RunRecord, run_key
from vecferry.journal.runs import OpenRuns
from vecferry.log.port import Table as LogTable


class Table:
    def __init__(self) -> None:
        self.changes = 0
        self.searched = 0
        self.values: dict[str, bytes] = {}

    def items(self, prefix: str) -> dict[str, bytes]:
        self.searched += 1
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}

    def put(self, run: str, state: Literal["copying", "closed", "cancelled"], target: str = "new") -> None:
        record = RunRecord(
            run=run,
            source="old",
            targets=(target,),
            state=state,
            epoch=1,
            partitions=3,
            chunks=1,
            chunk_rows=10,
            estimated_rows=10,
            generation=1,
            created_unix_s=0.0,
        )
        self.values[run_key("things", run)] = record.encode()
        self.changes += 1


def test_the_table_is_searched_when_it_has_changed() -> None:
    table = Table()
    runs = OpenRuns(cast(LogTable, table), "things", "new")
    assert runs() == ()
    table.put("r2", "copying")
    table.put("r1", "closed")
    table.put("r3", "copying", target="other")
    for _ in range(5):
        assert [run.run for run in runs()] == ["r1", "r2"]
    assert table.searched == 2
    table.put("r2", "cancelled")
    assert [run.run for run in runs()] == ["r1"]


def test_a_run_in_a_state_of_a_later_version_is_left_out() -> None:
    table = Table()
    runs = OpenRuns(cast(LogTable, table), "things", "new")
    for run in ("r1", "r2"):
        table.put(run, "copying")
    assert [run.run for run in runs()] == ["r1", "r2"]
    key = run_key("things", "r1")
    table.values[key] = table.values[key].replace(b'"copying"', b'"paused"')
    table.changes += 1
    assert [run.run for run in runs()] == ["r2"]
