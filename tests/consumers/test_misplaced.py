"""Events outside the partition of their id, and a worker that was configured for another division of the topic."""

from __future__ import annotations

import numpy as np
import pytest
from log_world import NAME, PARTITIONS, world
from vecferry.errors import Refused
from vecferry.journal.collection import CollectionRecord, collection_key
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.dead_letters import parse_origin
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import encode_position

pytestmark = pytest.mark.server


def test_a_newer_write_in_a_foreign_partition_is_dead_lettered_and_not_called_stale(kafka_bootstrap: str) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        ids = [f"id-{number}" for number in range(30)]
        for id_ in [*ids, *ids]:
            log.upsert(id_, 1.0)
        log.flush()
        moved = ids[0]
        home = int(partitions_of([moved], PARTITIONS)[0])
        away = (home + 1) % PARTITIONS
        end = log.admin.end_offsets(log.topic, PARTITIONS)[away]
        key = moved.encode()
        newer = EventEncoder(log.collection).upsert(
            key, np.full(4, 2.0, np.float32), b"{}", event_id=bytes(16), occurred_at_ms=2
        )
        log.producer.produce(log.topic, key=key, value=newer, partition=away)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: sum(store.live.values()) == 61)
        running.stop()
        log.dead_letters.sync()
        (letter,) = log.dead_letters.items("")
        origin = parse_origin(letter)
        assert (origin.partition, origin.offset) == (away, end)
        reason = log.dead_letters.headers(letter)["vecferry.reason"].decode()
        assert f"belongs to partition {home} and lies in {away}" in reason
        assert float(store.rows[moved].vector[0]) == 1.0
        assert store.rows[moved].position < encode_position(1, 61)
        assert len(store.rows) == 30


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"partitions": 7}, f"set collections.{NAME}.partitions = 7"),
        ({"epoch": 2}, f"set collections.{NAME}.epoch = 2"),
        ({"dimension": 8}, f"set collections.{NAME}.dimension = 8"),
        ({"metric": "dot"}, f'set collections.{NAME}.metric = "dot"'),
        ({"space_model": "n"}, f'set collections.{NAME}.space.model = "n"'),
        ({"space_version": "2"}, f'set collections.{NAME}.space.version = "2"'),
        ({"topic_id": "AAAAAAAAAAAAAAAAAAAAAQ"}, "deleted and made anew"),
    ],
)
def test_a_worker_that_is_not_configured_as_enrolled_reads_nothing(
    kafka_bootstrap: str, update: dict[str, object], problem: str
) -> None:
    with world(kafka_bootstrap) as log:
        store = log.store()
        record = CollectionRecord(
            epoch=1, partitions=PARTITIONS, dimension=4, metric="l2", id_type="text", stores=("old", "new")
        )
        log.log.writer(log.namespace, NAME).write({collection_key(NAME): record.model_copy(update=update)})
        log.control.sync()
        log.upsert("a", 1.0)
        log.flush()
        running = log.start(store)
        with pytest.raises(Refused, match=problem):
            running.wait_until(lambda: store.rows)
        with pytest.raises(Refused):
            running.join()
        assert store.rows == {}
        log.dead_letters.sync()
        assert log.dead_letters.items("") == {}
