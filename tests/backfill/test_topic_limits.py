"""Topics that take shorter records than Kafka's default: brokers with 256 KiB are common."""

from __future__ import annotations

from dataclasses import replace

import pytest
from backfill_rig import (
    COLLECTION,
    PARTITIONS,
    begin,
    loaded_store,
    make_config,
    mover_of,
    new_namespace,
    read_snapshot,
)
from vecferry.backfill.copying import copy_run
from vecferry.backfill.runs import open_run
from vecferry.errors import Refused
from vecferry.log.topics import SNAPSHOT_TOPIC
from vecferry.schemas.topics import snapshot_topic

pytestmark = pytest.mark.server

LIMIT = 256 * 1024
ROWS = 400
WIDE = b'{"text":"%s"}' % (b"x" * 5_000)  # of all rows: twice the limit for each partition


def test_a_copy_goes_through_a_topic_that_takes_256_kib(kafka_bootstrap: str) -> None:
    config = make_config(kafka_bootstrap, new_namespace(), chunk_rows=ROWS)
    source = loaded_store(config, ROWS)
    source.rows = {id_: replace(entry, metadata=WIDE) for id_, entry in source.rows.items()}
    topic = snapshot_topic(config.namespace, COLLECTION, "r1")
    with mover_of(config, source) as mover:
        mover.context.log.admin.create_topic(topic, PARTITIONS, {**SNAPSHOT_TOPIC, "max.message.bytes": str(LIMIT)})
        begin(mover, "new")
        closed = copy_run(mover, open_run(mover, ("new",)), lambda progress: None)
    assert (closed.run, closed.state, closed.rows) == ("r1", "closed", ROWS)
    arrived = read_snapshot(config, "r1")
    assert {id_: row[2] for id_, row in arrived.rows.items()} == dict.fromkeys(source.rows, WIDE)
    assert arrived.blocks >= ROWS * len(WIDE) / LIMIT


def test_a_row_that_the_topic_never_takes_is_named(kafka_bootstrap: str) -> None:
    config = make_config(kafka_bootstrap, new_namespace())
    source = loaded_store(config, 10)
    source.rows["id-00003"] = replace(source.rows["id-00003"], metadata=b'{"text":"%s"}' % (b"x" * 20_000))
    topic = snapshot_topic(config.namespace, COLLECTION, "r1")
    with mover_of(config, source) as mover:
        mover.context.log.admin.create_topic(topic, PARTITIONS, {**SNAPSHOT_TOPIC, "max.message.bytes": "16384"})
        begin(mover, "new")
        with pytest.raises(Refused, match=r"row 'id-00003' of old cannot be copied: the row takes .* a message holds"):
            copy_run(mover, open_run(mover, ("new",)), lambda progress: None)
