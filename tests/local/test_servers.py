"""Kafka and PostgreSQL as processes: found again, several sets at once, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from vecferry.errors import ConfigError
from vecferry.local import paths, process, services
from vecferry.local.kafka import find_kafka, start_kafka, stop_kafka
from vecferry.local.postgres import create_database, find_postgres, start_postgres, stop_postgres
from waiting import wait_until


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Names of two sets of servers in a home of their own, with a space in its path; both are stopped at the end."""
    home = tmp_path / "a home"
    home.mkdir()
    downloads = paths.home()
    downloads.mkdir(parents=True, exist_ok=True)
    for release in downloads.glob("kafka-*"):
        (home / release.name).symlink_to(release)
    monkeypatch.setenv("VECFERRY_HOME", str(home))
    for variable in services.ADDRESS_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("vecferry.local.docker.engine_answers", lambda: False)
    yield ("one", "two")
    for name in ("one", "two"):
        services.stop(name)


def stored(bootstrap: str, topic: str) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = wait_until(lambda: next(iter(consumer.consume(1, timeout=0.5)), None), what="a record")
        return [message.value()]
    finally:
        consumer.close()


def kill_postgres(pid: int) -> None:
    """Kill a server and wait for its children: while one of them has its memory, PostgreSQL starts no other."""
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    server.kill()
    wait_until(
        lambda: not [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE],
        what="the end of the killed server",
    )


@pytest.mark.server
def test_kafka_is_found_again_and_keeps_its_data_through_a_kill(names: tuple[str, str]) -> None:
    first = start_kafka(names[0])
    assert start_kafka(names[0]) == first
    other = start_kafka(names[1])
    assert other.bootstrap != first.bootstrap

    admin = AdminClient({"bootstrap.servers": first.bootstrap})
    admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])["kept"].result(30)
    producer = Producer({"bootstrap.servers": first.bootstrap, "acks": "all"})
    producer.produce("kept", value=b"still here")
    assert producer.flush(30) == 0

    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: find_kafka(names[0]) is None, what="the end of the killed broker")
    again = start_kafka(names[0])
    assert again.pid != first.pid
    assert again.bootstrap == first.bootstrap
    assert stored(again.bootstrap, "kept") == [b"still here"]
    assert "kept" not in AdminClient({"bootstrap.servers": other.bootstrap}).list_topics(timeout=30).topics

    assert stop_kafka(names[0])
    assert not stop_kafka(names[0])
    assert find_kafka(names[1]) == other


@pytest.mark.server
def test_postgres_is_found_again_and_keeps_its_data_through_a_kill(names: tuple[str, str]) -> None:
    first = start_postgres(names[0])
    assert start_postgres(names[0]) == first
    other = start_postgres(names[1])
    url = create_database(first.url, 'shop "2"')
    with psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE kept (v vector(3))")
        connection.execute("INSERT INTO kept VALUES ('[1,2,3]')")

    kill_postgres(first.pid)
    assert find_postgres(names[0]) is None
    again = start_postgres(names[0])
    assert (again.url, again.pid != first.pid) == (first.url, True)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT v::text FROM kept").fetchall() == [("[1,2,3]",)]

    assert stop_postgres(names[0])
    assert not stop_postgres(names[0])
    assert find_postgres(names[1]) == other


@pytest.mark.server
def test_a_reused_pid_is_neither_taken_for_the_server_nor_stopped(names: tuple[str, str]) -> None:
    server = start_postgres(names[0])
    kill_postgres(server.pid)
    assert find_postgres(names[0]) is None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        for path in (server.directory / "state.json", server.directory / "data" / "postmaster.pid"):
            path.write_text(path.read_text().replace(str(server.pid), str(bystander.pid), 1))
        assert find_postgres(names[0]) is None
        assert not stop_postgres(names[0])
        again = start_postgres(names[0])
        assert psycopg.connect(again.url).execute("SELECT 1").fetchone() == (1,)
        assert bystander.poll() is None
        bystander.communicate(b"\n")


@pytest.mark.server
def test_a_server_that_lost_its_record_is_replaced(names: tuple[str, str]) -> None:
    lost = start_postgres(names[0])
    (lost.directory / "state.json").unlink()
    found = start_postgres(names[0])
    assert found.pid != lost.pid
    wait_until(lambda: not process.Server(pid=lost.pid, port=0, marker=("-D",)).alive(), what="the end of the lost one")


@pytest.mark.server
def test_starters_at_the_same_moment_share_one_server(names: tuple[str, str]) -> None:
    program = "from vecferry.local.postgres import start_postgres; print(start_postgres('one').pid)"
    starters = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    pids = {starter.communicate(timeout=60)[0] for starter in starters}
    assert len(pids) == 1
    assert psutil.Process(int(pids.pop())).status() != psutil.STATUS_ZOMBIE


@pytest.mark.server
def test_the_last_user_stops_what_the_first_one_started(names: tuple[str, str]) -> None:
    with services.use(names[0]) as outer:
        with services.use(names[0]) as inner:
            assert inner == outer
        assert all(one.address for one in services.status(names[0]))
    assert not any(one.address for one in services.status(names[0]))

    kept = services.start(names[0])
    with services.use(names[0]) as used:
        assert used == kept
    assert all(one.address for one in services.status(names[0]))
    assert services.stop(names[0]) == ["kafka", "postgres"]


def test_a_killed_user_holds_nothing(names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECFERRY_KAFKA", "kafka.example:9092")
    monkeypatch.setenv("VECFERRY_POSTGRES", "postgresql://db.example/app")
    program = (
        "import sys\nfrom vecferry.local import services\n"
        "with services.use('one'):\n    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    leases = paths.services_dir(names[0]) / "leases"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"in\n"
        with services.use(names[0]):
            assert len(list(leases.iterdir())) == 2
        assert (leases.parent / "borrowed").exists()
        user.kill()
    with services.use(names[0]):
        pass
    assert list(leases.iterdir()) == []
    assert not (leases.parent / "borrowed").exists()


def test_a_stale_record_is_no_server(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    assert process.find(state) is None
    state.write_text("{ half a rec")
    assert process.find(state) is None
    state.write_text(json.dumps({"pid": os.getpid(), "port": 1, "marker": ["-D", "/elsewhere"]}))
    assert process.find(state) is None
    state.write_text(json.dumps({"pid": os.getpid(), "port": 1, "marker": []}))
    assert process.find(state) is None


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(name: str, names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="not a plain file name"):
        paths.services_dir(name)


def test_each_checkout_has_its_own_set(names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    here = paths.services_dir(None)
    monkeypatch.setattr(paths, "CHECKOUT", Path("/somewhere/else"))
    assert paths.services_dir(None) != here
