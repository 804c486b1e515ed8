"""What the journal says of a collection, and whether it may be enrolled as configured.

It may as it was; to another target; and, once all reads are on its target, from that one onwards.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..clock import Clock
from ..errors import Refused
from ..journal.collection import CollectionRecord, collection_key
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, migration_key
from ..journal.reading import require
from ..journal.route import Route, between, route_key
from ..journal.runs import read_runs
from ..log.port import Table
from ..schemas.collection import Collection
from ..schemas.fields import RowFields
from .preflight import collection_checks, refuse_unless_passed, topic_identity_check


def refuse_another(table: Table, collection: Collection, stores: tuple[str, str], events: str, topic_id: str) -> None:
    """Raise Refused unless the collection is new, is enrolled just so, or may take the migration ``stores`` instead."""
    name = collection.name
    record = require(table, collection_key(name), CollectionRecord)
    if record is not None:
        refuse_unless_passed([*collection_checks(record, collection), topic_identity_check(record, events, topic_id)])
    known = require(table, migration_key(name), MigrationRecord)
    if known is None or (known.source, known.target) == stores:
        return
    moving = f"collection {name!r} is already moving from {known.source} to {known.target}"
    back = f'set migrations.{name} to {{from = "{known.source}", to = "{known.target}"}}'
    route = require(table, route_key(name), Route)
    percent = 0 if route is None else route.share(known.target)
    if stores[0] == known.target:
        _refuse_onwards(table, known, name, percent, moving, back)
        return
    if known.source != stores[0]:
        raise Refused(
            f"{moving}; {back}, or, once all of its reads are on {known.target}, move on from there with "
            f'from = "{known.target}"; for any other source enrol in another namespace'
        )
    if percent:
        raise Refused(
            f"{moving} and {percent} % of its reads are there; to give it another target, {back} and run "
            f"`vecferry rollback {name}` first"
        )
    if _run_under_way(table, known, name):
        raise Refused(
            f"{moving} and a run is under way; to give it another target, {back} and run `vecferry cancel {name}` first"
        )


def _refuse_onwards(table: Table, known: MigrationRecord, name: str, percent: int, moving: str, back: str) -> None:
    """Raise Refused unless the migration ``known`` has come to its end, so that the next may begin at its target."""
    if percent < 100:
        raise Refused(
            f"{moving} and {percent} % of its reads are on {known.target}; to move on from there, {back} and move all "
            f"of them with `vecferry cutover {name} --to 100` first"
        )
    if _run_under_way(table, known, name):
        raise Refused(
            f"{moving} and a run is under way; to move on from {known.target}, {back} and finish it with "
            f"`vecferry start {name}` or give it up with `vecferry cancel {name}` first"
        )


def _run_under_way(table: Table, known: MigrationRecord, name: str) -> bool:
    return known.step == "copying" or any(run.state == "copying" for run in read_runs(table, name).values())


def journal(
    lease: Lease,
    table: Table,
    collection: Collection,
    stores: tuple[str, str],
    topic_id: str,
    clock: Clock,
    columns: Mapping[str, RowFields],
) -> None:
    """The three records in one transaction, so that a collection is enrolled wholly or not at all."""
    name = collection.name
    known = require(table, migration_key(name), MigrationRecord)
    if known is not None and (known.source, known.target) == stores:
        _complete(lease, table, collection, columns)
        return
    route = require(table, route_key(name), Route)
    generation = 1 if route is None else route.generation + 1
    now_unix_s = clock.unix_s()
    record = CollectionRecord(
        epoch=collection.epoch,
        partitions=collection.partitions,
        dimension=collection.space.dimension,
        metric=collection.space.metric,
        id_type=collection.id_type,
        space_model=collection.space.model,
        space_version=collection.space.version,
        stores=stores,
        topic_id=topic_id,
        columns=columns,
    )
    lease.write(
        {
            collection_key(name): record,
            migration_key(name): MigrationRecord(
                source=stores[0], target=stores[1], step="enrolled", started_unix_s=now_unix_s
            ),
            route_key(name): Route(
                generation=generation, weights=between(stores[0], stores[1], 0), changed_unix_s=now_unix_s
            ),
        }
    )


def _complete(lease: Lease, table: Table, collection: Collection, columns: Mapping[str, RowFields]) -> None:
    """Let the record say what columns the replicas have now, and what the release that enrolled them did not note."""
    record = require(table, collection_key(collection.name), CollectionRecord)
    space = {"space_model": collection.space.model, "space_version": collection.space.version}
    if record is not None and (not record.space_model or record.columns != columns):
        lease.write({collection_key(collection.name): record.model_copy(update={**space, "columns": columns})})
