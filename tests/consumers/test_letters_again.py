"""Events that a store could not take, read again after their letters were resolved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from applied_log import consumed, counters, settled
from log_world import NAME, PARTITIONS, world
from memory_store import MemoryStore
from numpy.typing import NDArray
from vecferry.errors import Rejected
from vecferry.schemas.batch import EventBatch, Mark
from vecferry.schemas.topics import dlq_topic

pytestmark = pytest.mark.server


class Picky(MemoryStore):
    """Rejects the id "refused"."""

    def apply(self, batch: EventBatch, marks: Sequence[Mark]) -> NDArray[np.int8]:
        if "refused" in batch.ids:
            raise Rejected("violates a check constraint")
        return super().apply(batch, marks)


def test_a_resolved_letter_is_not_posted_again(kafka_bootstrap: str) -> None:
    """It would read as unresolved, and hold the fences of later runs below it."""
    with world(kafka_bootstrap) as log:
        store = Picky(log.collection)
        store.create(complete=False)
        log.producer.produce(log.topic, key=b"bad", value=b"junk")
        log.upsert("refused", 1.0)
        log.upsert("good", 1.0)
        log.flush()
        running = log.start(store)
        running.wait_until(lambda: settled(log, store))
        running.stop()
        log.dead_letters.sync()
        letters = log.dead_letters.items("")
        assert len(letters) == 2
        for key in letters:
            log.producer.produce(dlq_topic(log.namespace, NAME), key=key.encode(), value=None, partition=0)
        log.flush()
        log.admin.commit(log.group, log.topic, dict.fromkeys(range(PARTITIONS), 0))
        running = log.start(store, "two")
        running.wait_until(lambda: consumed(log, "two") == 3)
        running.stop()
        assert counters(log, "two").live["dead_lettered"] == 2
        log.dead_letters.sync()
        assert not log.dead_letters.items("")
