"""The facts of a migration that is ready for its cutover, to be changed one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from vecferry.journal.migration import MigrationRecord, VerifyRecord
from vecferry.journal.progress import LiveProgress
from vecferry.journal.route import Route, between
from vecferry.journal.run import RunRecord
from vecferry.migration.facts import Facts
from vecferry.schemas.batch import Applied, SnapshotMark
from vecferry.schemas.collection import Placement, Replica, Space

NOW_S = 1_000_000.0
OLD, NEW = (
    Replica(
        name=name,
        store=name,
        placement=Placement(table="products"),
        space=Space(model="m", version="1", dimension=4, metric="cosine"),
        role=role,
    )
    for name, role in (("old", "from"), ("new", "to"))
)
RUN = RunRecord(
    run="r1",
    source="old",
    targets=("new",),
    state="closed",
    epoch=1,
    partitions=2,
    chunks=1,
    chunk_rows=10,
    estimated_rows=7,
    generation=1,
    created_unix_s=NOW_S - 100,
    rows=7,
)
VERIFIED = VerifyRecord(
    source="old",
    target="new",
    run="r1",
    finished_unix_s=NOW_S - 5,
    complete=True,
    checked=7,
    missing=0,
    extra=0,
    stale=0,
    corrupt=0,
    undecided=0,
)


def report(next_offset: int, *, complete: bool = True, age_s: float = 1.0) -> LiveProgress:
    return LiveProgress(next_offset=next_offset, complete=complete, beat_unix_s=NOW_S - age_s)


def held(*next_offsets: int, complete: Sequence[int] = (0, 1), run: str = "r1") -> Applied:
    """What a store says of itself."""
    marks = [SnapshotMark(run=run, partition=p, next_offset=9, next_chunk=1, closed=True) for p in complete]
    return Applied(
        live=dict(enumerate(next_offsets)),
        complete=frozenset(complete),
        snapshots={(mark.run, mark.partition): mark for mark in marks},
    )


def ready() -> Facts:
    """Everything as it should be."""
    return Facts(
        collection="products",
        source=OLD,
        target=NEW,
        partitions=2,
        now_unix_s=NOW_S,
        migration=MigrationRecord(source="old", target="new", step="indexed", run="r1", started_unix_s=NOW_S - 200),
        route=Route(generation=1, weights=between("old", "new", 0), changed_unix_s=NOW_S - 200),
        run=RUN,
        run_chunks_done=1,
        run_rows_done=7,
        run_applied=2,
        run_problems=(),
        verify=VERIFIED,
        controller=None,
        begin=(0, 0),
        end=(100, 50),
        live={"old": {0: report(100), 1: report(50)}, "new": {0: report(98), 1: report(50)}},
        committed={"old": {0: 100, 1: 50}, "new": {0: 98, 1: 50}},
        workers={"old": {}, "new": {}},
        dead_letters=(),
        held=held(100, 50),
        index_ready=True,
        source_held=held(100, 50),
        stable=(100, 50),
        events="shop.products.events",
    )
