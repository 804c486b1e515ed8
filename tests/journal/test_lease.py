"""One controller per collection: refused while another reports, taken over when it is gone, fenced by Kafka."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
from confluent_kafka import Producer
from migration_rig import NAME, Rig
from vecferry.backfill.context import Context
from vecferry.errors import Refused, Unavailable
from vecferry.journal import lease as lease_module
from vecferry.journal.controller import ControllerRecord, controller_key
from vecferry.journal.lease import LEASE_S, Lease, blocker
from vecferry.journal.reading import require
from vecferry.log.kafka import tables
from vecferry.log.kafka.clients import producer_config
from waiting import wait_until

NOW_S = 1_000_000.0
HERE = socket.gethostname()


def record(*, host: str = "elsewhere", pid: int = 1, age_s: float = 2.0) -> ControllerRecord:
    return ControllerRecord(instance="i", host=host, pid=pid, command="start products", beat_unix_s=NOW_S - age_s)


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_fresh_controller_blocks_and_is_named() -> None:
    reason = blocker(record(pid=4711), "products", now_unix_s=NOW_S, host=HERE)
    assert reason is not None
    for part in ("'products'", "start products", "4711", "elsewhere", "2 s ago", "wait for it or end it"):
        assert part in reason


@pytest.mark.parametrize(
    ("found", "blocks"),
    [
        (None, False),
        (record(age_s=LEASE_S - 0.1), True),
        (record(age_s=LEASE_S), False),
        (record(age_s=-LEASE_S), False),
        (record(host=HERE, pid=os.getpid()), True),
        (record(host=HERE, pid=dead_pid()), False),
        (record(host="elsewhere", pid=dead_pid()), True),
    ],
)
def test_who_has_to_wait(found: ControllerRecord | None, blocks: bool) -> None:
    assert (blocker(found, "products", now_unix_s=NOW_S, host=HERE) is not None) is blocks


def test_an_urgent_controller_waits_for_another_urgent_one_alone() -> None:
    steering = record()
    assert blocker(steering, "products", now_unix_s=NOW_S, host=HERE, urgent=True) is None
    back = steering.model_copy(update={"urgent": True})
    for urgent in (False, True):
        assert blocker(back, "products", now_unix_s=NOW_S, host=HERE, urgent=urgent) is not None


def lease(context: Context, command: str = "test", *, urgent: bool = False) -> Lease:
    return Lease(context.config, NAME, context.control, context.log, command=command, urgent=urgent)


@pytest.mark.server
def test_a_second_controller_is_refused_until_the_first_has_left(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.context() as context:
        with lease(context, "start products"), pytest.raises(Refused, match="`start products`"), lease(context):
            raise AssertionError("two controllers")
        with lease(context):
            context.control.sync()
            found = require(context.control, controller_key(NAME), ControllerRecord)
            assert found is not None
            assert (found.pid, found.host) == (os.getpid(), HERE)
        context.control.sync()
        assert context.control.get(controller_key(NAME)) is None


@pytest.mark.server
def test_the_lease_of_a_dead_process_and_a_stale_one_are_taken_over(kafka_bootstrap: str) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.context() as context:
        now_s = context.clock.unix_s()
        for left in (
            record().model_copy(update={"beat_unix_s": now_s - LEASE_S}),
            record(host=HERE, pid=dead_pid()).model_copy(update={"beat_unix_s": now_s}),
        ):
            rig.produce(f"{rig.config.namespace}.control", controller_key(NAME).encode(), left.encode(), 0)
            with lease(context) as taken:
                taken.write({"note": left})


@pytest.mark.server
@pytest.mark.parametrize("urgent", [False, True])
def test_a_controller_that_was_fenced_ends_with_refused(kafka_bootstrap: str, urgent: bool) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    with rig.context() as context, lease(context) as first:
        if not urgent:
            # What a second controller sees when the first one's clock or machine had stood still.
            rig.produce(f"{rig.config.namespace}.control", controller_key(NAME).encode(), None, 0)
        with lease(context, urgent=urgent) as second:

            def fenced() -> bool:
                try:
                    first.check()
                except Refused as error:
                    return "has taken over" in str(error)
                return False

            wait_until(fenced, what="the heartbeat to be fenced")
            with pytest.raises(Refused, match="has taken over"):
                first.write({"late": record()})
            second.write({"note": record()})
        context.control.sync()
        assert context.control.get("late") is None
        assert context.control.get("note") is not None


@pytest.mark.server
def test_what_was_committed_behind_an_open_transaction_is_seen_before_anything_is_decided(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    namespace = rig.config.namespace
    # A controller of another collection that was killed inside a transaction, which the broker has yet to end.
    other = Producer(
        {**producer_config(rig.config.kafka), "transactional.id": namespace, "delivery.timeout.ms": 30_000}
    )
    other.init_transactions(20)
    ending = threading.Timer(2.0, lambda: other.abort_transaction(20))
    with rig.context() as context:
        other.begin_transaction()
        other.produce(f"{namespace}.control", key=b"other", value=b"open", partition=0)
        other.flush(10)
        context.log.writer(namespace, NAME).write({"note": record()})
        monkeypatch.setattr(tables, "_OPEN_S", 0.1)
        monkeypatch.setattr(lease_module, "hit", lambda name: ending.start())
        with lease(context):
            assert context.control.get("note") is not None
        assert context.control.get("other") is None
    ending.join()


@pytest.mark.server
def test_without_a_view_of_the_journal_nothing_is_steered(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(kafka_bootstrap)
    rig.enrol()
    monkeypatch.setattr(lease_module, "_CATCH_UP_S", 0.0)
    monkeypatch.setattr(Lease, "_is_shown", lambda self: False)
    with rig.context() as context:
        with pytest.raises(Unavailable, match="run this command again"), lease(context):
            raise AssertionError("entered")
        monkeypatch.undo()
        with lease(context):  # the refused one has left
            pass
