"""The contract of ``stores/base.py``, part four: two processes write the same absent ids at the same moment.

An atomic adapter ends right whoever comes first. The dangerous round is a delete at a newer position against an insert
at an older one: no row exists that could be locked or compared.
"""

from __future__ import annotations

import multiprocessing

import pytest
from racing import IDS_PER_ROUND, NEWER, OLDER, ids_of, race
from store_data import PLACEMENT, at, collection, contents
from store_factory import StoreFactory
from vecferry.schemas.batch import Op
from vecferry.stores.base import Guarantee

ROUNDS = 40
JOIN_TIMEOUT_S = 120.0


PAIRS = [(Op.UPSERT, Op.DELETE), (Op.DELETE, Op.UPSERT), (Op.UPSERT, Op.UPSERT), (Op.SNAPSHOT, Op.DELETE)]


@pytest.mark.slow
@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_two_processes_end_right_on_the_same_absent_ids(store_factory: StoreFactory, older: Op, newer: Op) -> None:
    store = store_factory(collection(), PLACEMENT)
    if store.capabilities.guarantee is not Guarantee.ATOMIC:
        return  # such an adapter says that only the ownership of the partition keeps writers apart
    placed = (collection(), PLACEMENT)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    racers = [
        context.Process(
            target=race, args=(store_factory.kind, dict(store_factory.options), placed, op, offset, ROUNDS, barrier)
        )
        for op, offset in ((older, OLDER), (newer, NEWER))
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(JOIN_TIMEOUT_S)
    assert [racer.exitcode for racer in racers] == [0, 0]
    names = [id_ for round_ in range(ROUNDS) for id_ in ids_of(round_)]
    after = contents(store.fetch(names))
    wrong = {
        id_: after.get(id_)
        for id_ in names
        if id_ not in after or after[id_].position != at(NEWER) or (after[id_].vector is None) != (newer is Op.DELETE)
    }
    assert wrong == {}
    live = 0 if newer is Op.DELETE else 1
    assert store.count() == live * ROUNDS * IDS_PER_ROUND
    assert {store_factory.physical_rows(PLACEMENT, id_) for id_ in names[::IDS_PER_ROUND]} == {live}
