"""A worker, a reader and a controller of this version meet what a later one wrote."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from migration_rig import NAME, Rig
from rig_reader import reader_of, serves
from steering import do_start
from vecferry.errors import Refused
from vecferry.journal.collection import collection_key
from vecferry.journal.lease import Lease
from vecferry.journal.migration import MigrationRecord, migration_key
from vecferry.journal.reading import require
from vecferry.journal.route import Route, between, route_key
from vecferry.journal.run import run_key
from vecferry.log.kafka.log import KafkaLog
from vecferry.migration.context import Context
from vecferry.migration.cutover import move_reads
from vecferry.migration.gather import gather
from vecferry.schemas.topics import control_topic
from waiting import wait_until

pytestmark = pytest.mark.server


def test_each_goes_on_with_what_it_knows_and_says_so_once(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(kafka_bootstrap, rows=20)
    rig.enrol()
    with rig.worker("old"), rig.worker("new"):
        do_start(rig)
        with rig.steering() as (context, lease):
            route = require(context.control, route_key(NAME), Route)
            assert route is not None
            lease.write(
                {route_key(NAME): route.model_copy(update={"generation": 2, "weights": between("old", "new", 100)})}
            )
        with rig.context() as context:
            reader, router = reader_of(rig, context)
            wait_until(lambda: serves(reader, router, "new"), what="the reader to follow the route")
            later = write_as_a_later_version(rig, context)
            context.control.sync()
            # The worker goes on with its live topic, and so does one that begins now.
            rig.upsert("after", 1.0)
            wait_until(lambda: "after" in rig.stores["new"].rows, what="a running worker to apply")
            # The reader keeps its last route.
            assert reader.get(["after"], timeout=20.0)[0].id == "after"
            assert serves(reader, router, "new")
    with rig.worker("new"):
        rig.upsert("restarted", 1.0)
        wait_until(lambda: "restarted" in rig.stores["new"].rows, what="a worker that has begun since to apply")
    refuse_to_steer_over(rig, later)
    said = [record.getMessage() for record in caplog.records if record.name == "vecferry.journal"]
    for key in later:
        assert len([line for line in said if f"version wrote record {key} " in line]) == 1
    assert len(said) == len(later)


def write_as_a_later_version(rig: Rig, context: Context) -> dict[str, bytes]:
    """Records with a value, a field and a version that this release does not know; returns them by their keys."""

    def edited(key: str, **changes: object) -> bytes:
        raw = context.control.get(key)
        assert raw is not None
        return json.dumps({**json.loads(raw), **changes}).encode()

    later = {
        run_key(NAME, "r1"): edited(run_key(NAME, "r1"), state="paused", paused_by="somebody"),
        run_key(NAME, "r7"): b'{"version": 2, "shape": "another"}',
        route_key(NAME): edited(route_key(NAME), version=3, generation=3, shares={"third": 1.0}),
        collection_key(NAME): edited(collection_key(NAME), metric="hamming"),
    }
    for key, raw in later.items():
        rig.produce(control_topic(rig.config.namespace), key.encode(), raw, 0)
    return later


def refuse_to_steer_over(rig: Rig, later: dict[str, bytes]) -> None:
    with pytest.raises(
        Refused, match=r"'collection/products' was written by a later version.*metric 'hamming'.*use that"
    ):
        do_start(rig)
    with rig.context(checked=False) as context:
        migration = require(context.control, migration_key(NAME), MigrationRecord)
        assert migration is not None
        with pytest.raises(Refused, match="'route/products' was written by a later version"):
            gather(context)
    with rig.context(checked=False) as context:
        with Lease(rig.config, NAME, context.control, context.log, command="test") as lease:
            with pytest.raises(Refused, match=r"'route/products'.*version 3"):
                move_reads(context, lease, 0)
            for key in later:
                with pytest.raises(Refused, match=f"'{key}' was written by a later version"):
                    lease.writer.write({migration_key(NAME): migration, key: None})
            lease.write({migration_key(NAME): migration.model_copy(update={"cutovers": 7})})  # what it knows it writes
        with (
            closing(KafkaLog(rig.config.kafka)) as log,
            closing(log.table(control_topic(rig.config.namespace))) as view,
        ):
            view.sync()
            assert {key: view.get(key) for key in later} == later
            written = require(view, migration_key(NAME), MigrationRecord)
            assert written is not None
            assert written.cutovers == 7
