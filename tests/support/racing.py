"""Processes that race for the same ids through an adapter; run by ``multiprocessing`` with the method spawn."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.synchronize import Barrier

from store_data import at, batch
from store_factory import open_given
from vecferry.errors import Transient
from vecferry.schemas.batch import EventBatch, Op
from vecferry.schemas.collection import Collection, Placement
from vecferry.stores.base import Store

OLDER, NEWER = 10, 20
IDS_PER_ROUND = 5
BARRIER_TIMEOUT_S = 60.0


def ids_of(round_: int) -> list[str]:
    """The ids that both racers write in a round, absent before it."""
    return [f"r{round_}-{i}" for i in range(IDS_PER_ROUND)]


def race(
    kind: str,
    options: Mapping[str, str],
    placed: tuple[Collection, Placement],
    op: Op,
    offset: int,
    rounds: int,
    barrier: Barrier,
) -> None:
    """Write every round's ids with ``op`` at ``offset``, each round starting at the same moment as the other racer."""
    store = open_given(kind, options, *placed)
    for round_ in range(rounds):
        events = batch((op, id_, at(offset)) for id_ in ids_of(round_))
        barrier.wait(BARRIER_TIMEOUT_S)
        apply_until_taken(store, events)
    store.close()


def apply_until_taken(store: Store, events: EventBatch) -> None:
    """As a worker does: the same batch again after an error that passes."""
    while True:
        try:
            store.apply(events, ())
        except Transient:
            continue
        return
