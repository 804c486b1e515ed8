"""A filter by a key that the answering store has no column for is refused, and the keys that it has are named."""

from __future__ import annotations

import pytest
from log_world import DIMENSION, NAME, PARTITIONS, config_for
from memory_store import MemoryStore
from memory_world import MemoryWorld
from vecferry.clock import SYSTEM_CLOCK
from vecferry.config import Config
from vecferry.errors import InvalidRecord
from vecferry.journal.topic_watch import TopicWatch
from vecferry.reads.backend import Backend
from vecferry.schemas.collection import Placement
from vecferry.stores.base import Store

VECTOR = [1.0] * DIMENSION
COLUMNS = ["title", "section"]


def config(metadata: object) -> Config:
    collection = {
        "dimension": DIMENSION,
        "metric": "l2",
        "space": {"model": "m", "version": "1"},
        "partitions": PARTITIONS,
        "in": {"new": {"table": "t", "metadata": metadata}},
    }
    return config_for("memory", "memory", sections={"collections": {NAME: collection}})


@pytest.mark.parametrize("spec", [{"colour": "red"}, {"title": "x", "colour": None}, {"colour": {"$in": [1, 2]}}])
def test_a_filter_by_a_key_that_no_row_can_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, object]
) -> None:
    world = MemoryWorld()
    watch = TopicWatch(world.log, world.namespace, every_s=None)

    def open_replica(config: Config, collection: str, name: str) -> Store:
        return MemoryStore(world.collection)

    monkeypatch.setattr("vecferry.reads.backend.open_replica", open_replica)
    columns = Backend(config(COLUMNS), world.log, watch, clock=SYSTEM_CLOCK).reader(NAME)
    with pytest.raises(InvalidRecord, match="store 'new' holds no such metadata; use one of section, title") as refused:
        columns.search(VECTOR, filter=spec)
    assert refused.value.field == "filter.colour"
    assert columns.search(VECTOR, filter={"title": "x"}) == []
    json = Backend(config("metadata"), world.log, watch, clock=SYSTEM_CLOCK).reader(NAME)
    assert json.search(VECTOR, filter=spec) == []


def test_a_placement_knows_its_fields() -> None:
    assert Placement(table="t", metadata=("a", "b")).fields == ("a", "b")
    assert Placement(table="t", metadata="metadata").fields is None
