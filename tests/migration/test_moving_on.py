"""A migration that has come to its end is where the next one begins: from old to new, and from new to a third store."""

from __future__ import annotations

import pytest
from migration_rig import NAME, PARTITIONS, Rig, log_of
from rig_reader import reader_of, serves
from steering import do_start
from vecferry.errors import Refused
from vecferry.journal.collection import CollectionRecord, collection_key
from vecferry.journal.migration import MigrationRecord, migration_key
from vecferry.journal.reading import require
from vecferry.journal.route import Route, between, route_key
from vecferry.migration.cutover import move_reads
from vecferry.migration.doctor import examine
from vecferry.migration.enrol import enrol
from vecferry.migration.gates import Verdict
from vecferry.migration.gather import gather
from vecferry.migration.status import summarise
from vecferry.migration.verifying import verify_replicas
from waiting import wait_until

pytestmark = pytest.mark.server

ROWS = 60


def rows_of(rig: Rig, store: str) -> dict[str, int]:
    """Id -> position."""
    rows = rig.stores[store].rows
    return {id_: entry.position for id_, entry in rows.items() if not entry.deleted}


def moved_to(rig: Rig, percent: int) -> None:
    """Copy, verify and move reads, as a person would."""
    assert do_start(rig).step == "indexed"
    with rig.steering() as (context, lease):
        report, record = verify_replicas(context, lease, sample=None, on_progress=lambda progress: None)
        assert record.clean, report.examples
        move = move_reads(context, lease, percent)
        assert move.verdict is Verdict.PASS, move.gates


def test_from_old_to_new_to_a_third_store_in_one_namespace_and_epoch(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap, rows=ROWS)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        moved_to(rig, 100)
        rig.upsert("id-00003", 7.0)  # newer than every copy
        rig.move("new", "third")
        with pytest.raises(Refused, match=rf"once all reads are on new, run `vecferry enrol {NAME}`"), rig.context():
            raise AssertionError("opened")
        rig.enrol()
        rig.enrol()  # a second time it changes nothing
        with rig.context() as context:
            reader, router = reader_of(rig, context)
            wait_until(lambda: serves(reader, router, "new"), what="reads to stay on new")
            with rig.worker("third"):
                rig.upsert("fresh", 1.0)
                wait_until(lambda: all("fresh" in rows_of(rig, name) for name in ("new", "third")))
                moved_to(rig, 100)
                wait_until(lambda: serves(reader, router, "third"), what="the reader to follow")
                assert rows_of(rig, "third") == rows_of(rig, "new") == rows_of(rig, "old")
                assert float(rig.stores["third"].rows["id-00003"].vector[0]) == 7.0
                assert rig.stores["third"].complete == set(range(PARTITIONS))
                status = summarise(gather(context), rig.config.gates)
                assert (status.phase, status.percent, status.cutovers) == ("3 Cutover", 100, 1)
                assert [store.store for store in status.stores] == ["new", "third"]
                with rig.steering() as (steered, lease):
                    back = move_reads(steered, lease, 0)
                    assert back.verdict is Verdict.PASS, back.gates
                    assert back.after.weights == {"new": 100, "third": 0}
                wait_until(lambda: serves(reader, router, "new"), what="the reader to go back")
    with rig.context() as context:
        collection = require(context.control, collection_key(NAME), CollectionRecord)
        assert collection is not None
        assert (collection.stores, collection.epoch) == (("new", "third"), 1)
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert migration is not None
        assert (migration.source, migration.target, migration.run) == ("new", "third", "r2")
    with log_of(rig.config) as log:
        checks = examine(rig.config, NAME, log, open_store=rig.stores.__getitem__)
    assert [check.line() for check in checks if check.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("percent", "step", "problem"),
    [
        (0, "indexed", f"0 % of its reads are on new; .*`vecferry cutover {NAME} --to 100` first"),
        (99, "indexed", f"99 % of its reads are on new; .*`vecferry cutover {NAME} --to 100` first"),
        (100, "copying", f"a run is under way; .*`vecferry start {NAME}` or .*`vecferry cancel {NAME}` first"),
        (100, "indexed", f"store new is no full copy in partitions 0-2; .*`vecferry start {NAME} --new-run`"),
    ],
)
def test_it_moves_on_only_from_where_all_reads_are_and_all_rows(
    kafka_bootstrap: str, percent: int, step: str, problem: str, dry_run: bool
) -> None:
    rig = Rig(kafka_bootstrap, rows=3)
    rig.enrol()
    if step == "copying":
        rig.stores["new"].complete.update(range(PARTITIONS))
    with rig.steering() as (context, lease):
        route = require(context.control, route_key(NAME), Route)
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert route is not None
        assert migration is not None
        lease.write(
            {
                route_key(NAME): route.model_copy(update={"weights": between("old", "new", percent)}),
                migration_key(NAME): migration.model_copy(update={"step": step, "run": "r1"}),
            }
        )
    rig.move("new", "third")
    with pytest.raises(Refused, match=problem), log_of(rig.config) as log:
        enrol(rig.config, NAME, log, dry_run=dry_run, open_store=rig.stores.__getitem__)
    assert rig.stores["third"].live == {}
    rig.move("old", "new")
    with rig.context() as context:  # it is as it was
        again = require(context.control, migration_key(NAME), MigrationRecord)
        assert again is not None
        assert (again.source, again.target, again.step) == ("old", "new", step)
