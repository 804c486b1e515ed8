"""Records without a version, as release 0.1.0 wrote them: see tests/data/README.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vecferry.journal.kinds import CONTROL, kind_of
from vecferry.journal.progress import LiveProgress, SnapshotProgress, WorkerProgress
from vecferry.journal.reading import known, require
from vecferry.journal.record import Known, Record, decode
from vecferry.journal.route import Route, route_key
from vecferry.journal.runs import OpenRuns, read_done, read_group, read_plan, read_runs

DATA = Path(__file__).parents[1] / "data" / "journal-0.1.0"
# Fields that came later, as they are read from a record without them.
ADDED: dict[str, dict[str, object]] = {
    "CollectionRecord": {"space_model": "", "space_version": "", "columns": {}},
    "LiveProgress": {"clean_from": None},
}
SOME_S = 1700000000.25
PROGRESS: dict[str, type[Record]] = {"live": LiveProgress, "snapshot": SnapshotProgress, "worker": WorkerProgress}


def lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def kind(key: str) -> type[Record]:
    found = kind_of(key) or PROGRESS.get(key.partition("/")[0])
    assert found is not None, key
    return found


def test_every_kind_in_all_of_its_states_is_read_whole() -> None:
    written = lines("records.jsonl")
    assert {kind(entry["key"]) for entry in written} == {*CONTROL.values(), *PROGRESS.values()}
    for entry in written:
        assert kind(entry["key"]).__name__ == entry["kind"]
        found = decode(entry["key"], entry["value"].encode(), kind(entry["key"]))
        assert isinstance(found, Known), found
        fields: dict[str, object] = entry["fields"]  # type: ignore[assignment]
        added = {"version": 1, **ADDED.get(entry["kind"], {})}
        if entry["kind"] == "Route":
            assert fields == {"generation": 3, "old": "old", "new": "new", "percent": 25, "changed_unix_s": SOME_S}
            fields, added = (
                {"generation": 3, "changed_unix_s": SOME_S},
                {"version": 2, "weights": {"old": 75, "new": 25}},
            )
        assert json.loads(entry["value"]).keys() == entry["fields"].keys()  # type: ignore[attr-defined]
        assert found.record.model_dump(mode="json") == {**fields, **added}
        assert json.loads(found.record.encode()) == {**fields, **added}


@pytest.mark.parametrize(("topic", "kinds"), [("control.jsonl", CONTROL), ("progress.jsonl", PROGRESS)])
def test_every_record_of_a_migration_is_known(topic: str, kinds: dict[str, type[Record]]) -> None:
    written = lines(topic)
    assert {entry["key"].partition("/")[0] for entry in written} == set(kinds)
    for entry in written:
        if entry["value"] is not None:
            found = decode(entry["key"], entry["value"].encode(), kind(entry["key"]))
            assert isinstance(found, Known), found


class Control:
    """The control topic of that migration as a table."""

    changes = 1

    def __init__(self) -> None:
        newest = {entry["key"]: entry["value"] for entry in lines("control.jsonl")}
        self.values = {key: value.encode() for key, value in newest.items() if value is not None}

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def items(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}


def test_the_journal_of_a_migration_says_what_it_said() -> None:
    control = Control()
    runs = read_runs(control, "products")  # type: ignore[arg-type]
    assert {run: record.state for run, record in runs.items()} == {"r1": "closed", "r2": "cancelled"}
    assert [run.run for run in OpenRuns(control, "products", "new")()] == ["r1"]  # type: ignore[arg-type]
    plan = read_plan(control, "products", runs["r1"])  # type: ignore[arg-type]
    done = read_done(control, "products", "r1")  # type: ignore[arg-type]
    assert len(plan) == len(done) == runs["r1"].chunks == 3
    assert sum(chunk.rows for chunk in done.values()) == runs["r1"].rows
    group = read_group(control, "products", "new")  # type: ignore[arg-type]
    assert group is not None
    assert group.live_start == (0, 0, 0)
    route = require(control, route_key("products"), Route)  # type: ignore[arg-type]
    assert route is not None
    assert (route.weights, route.generation) == ({"old": 95, "new": 5}, 2)
    assert {key for key in control.values if known(control, key, kind(key)) is None} == set()  # type: ignore[arg-type]
