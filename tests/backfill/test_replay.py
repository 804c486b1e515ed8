from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from backfill_rig import (
    COLLECTION,
    DIMENSION,
    PARTITIONS,
    begin,
    loaded_store,
    make_config,
    mover_of,
    new_namespace,
    produce,
)
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from memory_store import MemoryStore
from vecferry.backfill.context import Mover
from vecferry.backfill.copying import copy_run
from vecferry.backfill.groups import begin_group
from vecferry.backfill.replay import open_replay
from vecferry.backfill.runs import open_run
from vecferry.errors import Refused
from vecferry.journal.run import GroupRecord, RunRecord, group_key, run_key
from vecferry.journal.runs import read_group, read_run
from vecferry.log.kafka.clients import admin_config
from vecferry.schemas.topics import events_topic, group_id, snapshot_topic

pytestmark = pytest.mark.server

LIVE = {0: 4, 1: 0, 2: 5}
FENCES = tuple(LIVE.values())


@pytest.fixture
def mover(kafka_bootstrap: str) -> Iterator[Mover]:
    """A source that has applied some events, and one closed run ``r1`` into the store new."""
    config = make_config(kafka_bootstrap, new_namespace())
    source = loaded_store(config, 50)
    source.live = dict(LIVE)
    with mover_of(config, source) as made:
        for partition, events in LIVE.items():
            topic = events_topic(config.namespace, COLLECTION)
            produce(config, topic, {f"k{event}": b"x" for event in range(events)}, partition=partition)
        begin(made, "new")
        closed = copy_run(made, open_run(made, ("new",)), lambda progress: None)
        assert closed.fences == FENCES
        made.context.control.sync()
        yield made


def empty_store(mover: Mover) -> MemoryStore:
    return MemoryStore(mover.context.collection)


def cut(mover: Mover, topic: str, offsets: dict[int, int]) -> None:
    """Retention passes: what lies below ``offsets`` is gone."""
    client = AdminClient(admin_config(mover.context.config.kafka))
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for future in client.delete_records(wanted).values():
        future.result()


def committed(mover: Mover, store: str) -> dict[int, int]:
    group = group_id(mover.context.config.namespace, COLLECTION, store)
    return mover.context.log.admin.committed(group, mover.context.events, PARTITIONS)


def test_a_further_store_begins_at_the_fences_of_the_run(mover: Mover) -> None:
    store = empty_store(mover)
    run = open_replay(mover.context, mover.writer, "r1", "third", store)
    assert run.targets == ("new", "third")
    assert store.applied().live == LIVE
    assert not store.applied().complete
    assert committed(mover, "third") == LIVE
    mover.context.control.sync()
    assert read_run(mover.context.control, COLLECTION, "r1") == run
    assert read_group(mover.context.control, COLLECTION, "third") == GroupRecord(epoch=1, live_start=FENCES)
    assert open_replay(mover.context, mover.writer, "r1", "third", store) == run  # again: nothing changes


def test_retention_up_to_the_fences_is_no_obstacle_and_beyond_them_refused(mover: Mover) -> None:
    cut(mover, mover.context.events, LIVE)
    open_replay(mover.context, mover.writer, "r1", "third", empty_store(mover))
    produce(mover.context.config, mover.context.events, {"later": b"x"}, partition=2)
    cut(mover, mover.context.events, {2: 6})
    store = empty_store(mover)
    # The store that has begun already is not asked again: what it has not applied is its worker's to notice.
    open_replay(mover.context, mover.writer, "r1", "third", store)
    with pytest.raises(Refused, match=r"retention of topic .* has passed the fences of run r1 in partition 2:"):
        open_replay(mover.context, mover.writer, "r1", "fourth", empty_store(mover))


def test_a_snapshot_topic_that_lost_records_is_refused(mover: Mover) -> None:
    topic = snapshot_topic(mover.context.config.namespace, COLLECTION, "r1")
    cut(mover, topic, {1: 1})
    with pytest.raises(Refused, match=r"no longer holds all of its records in partition 1; make another run with"):
        open_replay(mover.context, mover.writer, "r1", "third", empty_store(mover))


def test_a_snapshot_topic_that_is_gone_is_refused(mover: Mover) -> None:
    record = read_run(mover.context.control, COLLECTION, "r1")
    mover.writer.write({run_key(COLLECTION, "r7"): record.model_copy(update={"run": "r7"})})
    with pytest.raises(Refused, match=r"snapshot\.r7 has 0 partitions, not 3; make another run with"):
        open_replay(mover.context, mover.writer, "r7", "third", empty_store(mover))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"state": "copying"}, "run r1 is copying, only a closed run .* let `vecferry start products` finish it"),
        ({"state": "cancelled"}, "only a closed run .* make another run with `vecferry start products --new-run`"),
        ({"epoch": 2}, "run r1 belongs to epoch 2 with 3 partitions"),
        ({"partitions": 4}, "run r1 belongs to epoch 1 with 4 partitions"),
        ({"source": "third"}, "was copied from third itself"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(mover: Mover, change: dict[str, object], problem: str) -> None:
    record: RunRecord = read_run(mover.context.control, COLLECTION, "r1").model_copy(update=change)
    mover.writer.write({run_key(COLLECTION, "r1"): record})
    store = empty_store(mover)
    with pytest.raises(Refused, match=problem):
        open_replay(mover.context, mover.writer, "r1", "third", store)
    assert store.live == {}  # refused before anything was made


def test_an_unknown_run_is_refused_naming_the_known_ones(mover: Mover) -> None:
    with pytest.raises(Refused, match="no run 'r9'; known: r1"):
        open_replay(mover.context, mover.writer, "r9", "third", empty_store(mover))


def test_a_group_that_began_behind_a_fence_may_not_read_the_run(mover: Mover) -> None:
    begin(mover, "third", (4, 1, 5))
    with pytest.raises(Refused, match=r"group of store third began behind the fences of run r1 in partition 1;"):
        open_replay(mover.context, mover.writer, "r1", "third", empty_store(mover))


def test_a_group_keeps_its_first_start(mover: Mover) -> None:
    store = begin(mover, "third", (1, 0, 2))
    again = begin_group(mover.context, mover.writer, "third", store, (3, 0, 5))
    assert again.live_start == (1, 0, 2)
    assert committed(mover, "third") == {0: 1, 1: 0, 2: 2}
    assert store.applied().live == {0: 1, 1: 0, 2: 2}


def test_a_start_that_was_journaled_is_finished_after_a_crash(mover: Mover) -> None:
    record = GroupRecord(epoch=1, live_start=(1, 0, 2))
    mover.writer.write({group_key(COLLECTION, "third"): record})
    store = begin(mover, "third", (3, 0, 5))
    assert committed(mover, "third") == store.applied().live == {0: 1, 1: 0, 2: 2}


def test_a_group_that_has_begun_writes_nothing(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begin(mover, "third", (1, 0, 2))
    # Its worker may be writing to the same rows without pause, and whoever comes between them waits, or gives up.
    monkeypatch.setattr(store, "apply", lambda *_: pytest.fail("written without need"))
    begin_group(mover.context, mover.writer, "third", store, (0, 0, 0))
    store.live[1] = 7
    begin_group(mover.context, mover.writer, "third", store, (0, 0, 0))


def test_a_lost_table_begins_again_where_its_group_did(mover: Mover) -> None:
    store = begin(mover, "third", (1, 0, 2))
    store.live = {0: 0, 1: 4}
    begin_group(mover.context, mover.writer, "third", store, (0, 0, 0))
    assert store.applied().live == {0: 1, 1: 4, 2: 2}


def test_commits_that_kafka_let_expire_come_back_where_the_store_is(mover: Mover) -> None:
    store = begin(mover, "third")
    store.live = {0: 3, 1: 0, 2: 5}
    group = group_id(mover.context.config.namespace, COLLECTION, "third")
    client = AdminClient(admin_config(mover.context.config.kafka))  # held: one that is collected never answers
    client.delete_consumer_groups([group])[group].result()
    begin_group(mover.context, mover.writer, "third", store, (0, 0, 0))
    assert committed(mover, "third") == {0: 3, 1: 0, 2: 5}


def test_a_group_that_nobody_journaled_is_refused(mover: Mover) -> None:
    group = group_id(mover.context.config.namespace, COLLECTION, "third")
    mover.context.log.admin.commit(group, mover.context.events, {0: 2})
    with pytest.raises(Refused, match="has committed offsets but vecferry did not begin it"):
        begin(mover, "third")


def test_a_group_of_another_epoch_is_refused(mover: Mover) -> None:
    mover.writer.write({group_key(COLLECTION, "third"): GroupRecord(epoch=2, live_start=(0, 0, 0))})
    with pytest.raises(Refused, match="began in epoch 2 and the collection is in epoch 1"):
        begin(mover, "third")


def test_a_store_that_holds_rows_of_its_own_is_refused_before_anything_is_begun(mover: Mover) -> None:
    store = empty_store(mover)
    store.load(["id-00001"], np.ones((1, DIMENSION), np.float32), [b"{}"])  # would win over the same id of the run
    with pytest.raises(Refused, match=r"store third holds 1 row that vecferry did not write.*; name another table in"):
        open_replay(mover.context, mover.writer, "r1", "third", store)
    assert (store.live, committed(mover, "third")) == ({}, {})
    assert read_group(mover.context.control, COLLECTION, "third") is None
    store.rows.clear()
    open_replay(mover.context, mover.writer, "r1", "third", store)
