"""What the journal says of a collection, and whether it may be enrolled as configured: as it was, or to a new store."""

from __future__ import annotations

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
from .preflight import collection_checks, refuse_unless_passed, topic_identity_check


def refuse_another(table: Table, collection: Collection, stores: tuple[str, str], events: str, topic_id: str) -> None:
    """Raise Refused unless the collection is new, is enrolled just so, or may take the target of ``stores`` instead."""
    name = collection.name
    record = require(table, collection_key(name), CollectionRecord)
    if record is not None:
        refuse_unless_passed([*collection_checks(record, collection), topic_identity_check(record, events, topic_id)])
    known = require(table, migration_key(name), MigrationRecord)
    if known is None or (known.source, known.target) == stores:
        return
    moving = f"collection {name!r} is already moving from {known.source} to {known.target}"
    back = f'set migrations.{name} to {{from = "{known.source}", to = "{known.target}"}}'
    if known.source != stores[0]:
        raise Refused(f"{moving}; {back}, or enrol in another namespace")
    route = require(table, route_key(name), Route)
    if route is not None and (percent := route.share(known.target)):
        raise Refused(
            f"{moving} and {percent} % of its reads are there; to give it another target, {back} and run "
            f"`vecferry rollback {name}` first"
        )
    if known.step == "copying" or any(run.state == "copying" for run in read_runs(table, name).values()):
        raise Refused(
            f"{moving} and a run is under way; to give it another target, {back} and run `vecferry cancel {name}` first"
        )


def journal(
    lease: Lease, table: Table, collection: Collection, stores: tuple[str, str], topic_id: str, clock: Clock
) -> None:
    """The three records in one transaction, so that a collection is enrolled wholly or not at all."""
    name = collection.name
    known = require(table, migration_key(name), MigrationRecord)
    if known is not None and (known.source, known.target) == stores:
        _complete(lease, table, collection)
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


def _complete(lease: Lease, table: Table, collection: Collection) -> None:
    """Let the record name the model and its version, where the release that enrolled the collection did not."""
    record = require(table, collection_key(collection.name), CollectionRecord)
    space = {"space_model": collection.space.model, "space_version": collection.space.version}
    if record is not None and not record.space_model:
        lease.write({collection_key(collection.name): record.model_copy(update=space)})
