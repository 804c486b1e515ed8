"""What a run needs around it: servers, a database, a namespace and a folder of its own; all removed at the end."""

from __future__ import annotations

import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ..local import paths, services
from ..local.postgres import create_database
from .catalogue import COLLECTION

Say = Callable[[str], None]

_REQUEST_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where everything of one run is. ``config_file`` and ``task_file`` are for the run to write."""

    namespace: str
    directory: Path
    kafka: str
    postgres: str
    lance: Path
    ledgers: Path
    sightings: Path
    config_file: Path
    task_file: Path


def servers() -> str:
    """The name of the demo's own set of servers: what tests leave behind in this checkout's would slow its Kafka."""
    return f"{paths.set_name(None)}-demo"


@contextmanager
def world(say: Say, *, keep: bool = False) -> Iterator[World]:
    """Servers running, an empty database, empty folders; nothing is enrolled yet. Blocks for some seconds.

    With ``keep`` nothing is removed, and ``say`` hears where it is.
    """
    name = f"demo-{uuid.uuid4().hex[:8]}"
    say(f"this run is {name}: starting Kafka and PostgreSQL, or finding them")
    with services.use(servers(), say=say) as addresses:
        url = create_database(addresses.postgres, name.replace("-", "_"))
        directory = Path(tempfile.mkdtemp(prefix=f"vecferry-{name}-"))
        try:
            yield _furnished(directory, name, addresses.kafka, url)
        finally:
            if keep:
                _say_what_is_kept(say, directory, url)
            else:
                _remove(addresses, name, say)
                shutil.rmtree(directory, ignore_errors=True)


def _furnished(directory: Path, namespace: str, kafka: str, url: str) -> World:
    ledgers, sightings, lance = directory / "ledgers", directory / "sightings", directory / "lance"
    for folder in (ledgers, sightings, lance):
        folder.mkdir()
    return World(
        namespace=namespace,
        directory=directory,
        kafka=kafka,
        postgres=url,
        lance=lance,
        ledgers=ledgers,
        sightings=sightings,
        config_file=directory / "vecferry.toml",
        task_file=directory / "task.json",
    )


def _say_what_is_kept(say: Say, directory: Path, url: str) -> None:
    say(f"kept: {directory} (configuration, ledgers, logs, LanceDB) and database {url.rpartition('/')[2]}")
    again = f"{sys.executable} -m vecferry.local start --name {servers()}"
    say(f"`{again}` has the servers running again; then `vecferry status {COLLECTION} --config FILE`")


def _remove(addresses: services.Addresses, name: str, say: Say) -> None:
    try:
        with psycopg.connect(addresses.postgres, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name.replace("-", "_")}" WITH (FORCE)')
        admin = AdminClient({"bootstrap.servers": addresses.kafka})
        topics = [topic for topic in admin.list_topics(timeout=_REQUEST_S).topics if topic.startswith(f"{name}.")]
        groups = [f"{name}.{COLLECTION}.{store}" for store in ("old", "new")]
        futures = {**admin.delete_consumer_groups(groups), **(admin.delete_topics(topics) if topics else {})}
        for future in futures.values():
            future.exception(_REQUEST_S)  # a group that was never made is fine
    except (psycopg.Error, KafkaException, TimeoutError) as error:
        say(f"could not remove everything of {name}: {error}")
