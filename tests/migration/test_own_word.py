"""What gates are told: by both stores themselves, and by the end of the live topic. On a log in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from killing import Machine, TouchedStore, machine
from log_world import NAME
from memory_store import MemoryStore
from memory_world import MemoryWorld, partition_of
from simulated_commands import Commands
from vecferry.config import GatesSection
from vecferry.errors import Transient
from vecferry.journal.progress import LiveProgress, live_progress_key
from vecferry.migration.context import open_context
from vecferry.migration.facts import Facts
from vecferry.migration.gates import Verdict, lag_gate, rollback_gate
from vecferry.migration.gather import gather
from vecferry.schemas.topics import progress_topic

SECTIONS = {"migrations": {NAME: {"from": "old", "to": "new"}}}
LIMITS = GatesSection()
PARTITION = partition_of("a")


@dataclass(slots=True)
class Site:
    """An enrolled collection with ten events of row ``a``, which both stores have applied, as their workers said."""

    world: MemoryWorld
    stores: dict[str, MemoryStore]
    own: Machine

    def facts(self) -> Facts:
        with open_context(
            self.world.config, NAME, self.own.log, open_store=self.own.open_store, clock=self.world.clock
        ) as context:
            return gather(context)

    def report(self) -> None:
        place = (progress_topic(self.world.namespace), 0)
        for name, store in self.stores.items():
            for partition, next_offset in store.live.items():
                record = LiveProgress(
                    next_offset=next_offset, complete=True, beat_unix_s=self.world.clock.unix_s()
                ).encode()
                self.world.broker.append(place, live_progress_key(NAME, name, partition).encode(), record)


@pytest.fixture
def site() -> Iterator[Site]:
    world = MemoryWorld(sections=SECTIONS, enrolled=False)
    stores = {name: MemoryStore(world.collection) for name in ("old", "new")}
    own = machine(world.broker, world.clock, stores, lambda: None, lambda: None, TouchedStore)
    Commands(world, random.Random(1), quick=1.0).enrol(own)
    for value in range(10):
        world.upsert("a", float(value))
    for store in stores.values():
        store.live[PARTITION] = 10
    made = Site(world, stores, own)
    made.report()
    yield made
    own.log.close()


def test_a_rollback_is_not_ready_while_the_source_lacks_what_its_worker_reported(site: Site) -> None:
    assert rollback_gate(site.facts(), LIMITS).verdict is Verdict.PASS
    site.stores["old"].live[PARTITION] = 7
    gate = rollback_gate(site.facts(), LIMITS)
    assert gate.verdict is Verdict.FAIL
    assert f"it had applied partition {PARTITION} up to offset 10 and is at 7 now" in gate.measured


def test_a_source_that_does_not_answer_is_a_fact_and_no_rollback_is_ready(site: Site) -> None:
    def down(method: str) -> None:
        raise Transient("store old: connection refused")

    site.stores["old"] = MemoryStore(site.world.collection, down)
    facts = site.facts()
    assert facts.source_held is None
    gate = rollback_gate(facts, LIMITS)
    assert (gate.verdict, gate.measured) == (Verdict.INCONCLUSIVE, "store old: connection refused")


def test_writes_behind_an_open_transaction_are_lag(site: Site) -> None:
    site.world.broker.partition((site.world.topic, PARTITION)).open_since = 10
    for value in range(100):
        site.world.upsert("a", float(value))
    facts = site.facts()
    for replica in (facts.source, facts.target):
        gate = lag_gate(facts, replica, LIMITS)
        assert gate.verdict is Verdict.INCONCLUSIVE
        assert (
            gate.measured == f"100 records, held back by an open transaction in partition {PARTITION} since offset 10"
        )
        assert f"--topic {site.world.topic} --partition {PARTITION}" in gate.remedy
