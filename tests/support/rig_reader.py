"""A reader of the collection that a migration of the rig moves."""

from __future__ import annotations

from migration_rig import NAME, PARTITIONS, Rig
from vecferry.backfill.context import Context
from vecferry.clock import SYSTEM_CLOCK
from vecferry.reads.letters import DeadLetters
from vecferry.reads.pool import StorePool
from vecferry.reads.reader import Reader
from vecferry.reads.route import whole
from vecferry.reads.router import Router
from vecferry.reads.stats import Counters
from vecferry.reads.watermarks import Watermarks


def reader_of(rig: Rig, context: Context) -> tuple[Reader, Router]:
    """A reader on the stores in memory, and what decides where it reads."""
    collection, counters = context.collection, Counters()
    pool = StorePool(rig.stores.__getitem__)
    progress = Watermarks(
        collection=collection,
        table=lambda: context.progress,
        end_offsets=lambda timeout_s: context.log.admin.end_offsets(rig.events, PARTITIONS, timeout_s=timeout_s),
        pool=pool,
        clock=SYSTEM_CLOCK,
    )
    router = Router(
        collection=NAME,
        control=lambda timeout_s: context.control,
        without_record=lambda: whole("old"),
        progress=progress,
        connect=pool.open,
        counters=counters,
        clock=SYSTEM_CLOCK,
    )
    reader = Reader(
        collection=collection,
        topic=rig.events,
        router=router,
        progress=progress,
        letters=DeadLetters(
            collection=collection.name,
            topic=rig.events,
            progress=lambda: context.progress,
            open_table=lambda: context.letters,
            pool=pool,
        ),
        pool=pool,
        counters=counters,
        clock=SYSTEM_CLOCK,
    )
    return reader, router


def serves(reader: Reader, router: Router, store: str) -> bool:
    """Whether every key is read from ``store``, once another read has looked."""
    reader.get(["id-00001"], timeout=20.0)
    return router.served is not None and {router.served.store_of(bucket) for bucket in range(100)} == {store}
