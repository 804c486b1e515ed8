"""What is looked up before a publisher opens, so that it opens for the topic and the space that were enrolled.

All of it is as good as can be had: an application may have no right to read the journal, and no client of a store. What
cannot be read is not refused, because writes must not depend on it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from .config import Config
from .errors import ConfigError, Unavailable, VecferryError
from .executor import Daemon
from .journal.enrolled import enrolled_fields, refuse_other_enrolment
from .journal.log_end import beyond_the_end
from .journal.progress import LiveProgress, live_progress_prefix
from .journal.reading import all_known
from .log.kafka.errors import contact_of
from .log.port import Log
from .log.topics import largest_record
from .references import local_path
from .replicas import open_replica
from .schemas.collection import Collection, Replica
from .schemas.fields import RowFields
from .schemas.topics import control_topic, events_topic, progress_topic

_log = logging.getLogger("vecferry.pipeline")

_TABLE_S = 5.0  # the control topic is small, and so is the progress topic
_STORE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of the live topic: how long a record may be, and where its partitions end. None and () where not known.

    ``replicas``: the columns of those that are configured and were enrolled.
    """

    max_record_bytes: int | None = None
    log_ends: tuple[int, ...] = ()
    replicas: tuple[RowFields, ...] = ()


def look_up(config: Config, name: str, log: Log) -> Found:
    """What a publisher of ``name`` needs to know. Blocks for some requests to Kafka, and one to a store.

    Raises Refused where the collection was enrolled otherwise than it is configured, where the live topic is another
    one than was enrolled, and where a store has applied more than it holds; Unavailable when Kafka does not answer.
    """
    collection, events = config.collection(name), events_topic(config.namespace, name)
    replicas: tuple[RowFields, ...] = ()
    try:
        replicas = _compare(config, collection, events, log)
    except Unavailable as error:
        if contact_of(config.kafka).away:
            raise
        _log.warning("%s: what it was enrolled with is not known: %s", name, error)
    try:
        return replace(_measure(config, collection, events, log), replicas=replicas)
    except Unavailable as error:
        _log.warning("%s: what its topic takes, and where it ends, is not known: %s", name, error)
        return Found(replicas=replicas)


def _compare(config: Config, collection: Collection, events: str, log: Log) -> tuple[RowFields, ...]:
    """Returns the columns of the replicas as they were enrolled."""
    control = control_topic(config.namespace)
    # First: to ask for an absent topic by its name may create it.
    if not {control, events} <= log.admin.topics([control, events]).keys():
        return ()
    with closing(log.table(control)) as table:
        table.sync(_TABLE_S)
        refuse_other_enrolment(table, log.admin, collection, events)
        fields = enrolled_fields(table, collection.name)
    placements = config.collections[collection.name].placements
    return tuple(found for replica, found in fields.items() if replica in placements)


def _measure(config: Config, collection: Collection, events: str, log: Log) -> Found:
    progress = progress_topic(config.namespace)
    topics = log.admin.topics([events, progress])
    if events not in topics or topics[events].partitions != collection.partitions:
        return Found()  # the publisher says so
    reported = _reported(log, progress, collection) if progress in topics else {}
    asked = _asked(config, collection.name)
    ends = log.admin.end_offsets(events, collection.partitions)  # last: both move
    for store, reached in (*reported.items(), *asked.items()):
        if failure := beyond_the_end(collection.name, events, f"store {store} has applied", reached, ends):
            raise failure
    return Found(max_record_bytes=largest_record(topics[events]), log_ends=ends)


def _reported(log: Log, progress: str, collection: Collection) -> dict[str, dict[int, int]]:
    """By store and partition: what workers have reported, as far as it can be read."""
    found: dict[str, dict[int, int]] = {}
    with closing(log.table(progress)) as table:
        try:
            table.sync(_TABLE_S)
        except Unavailable as error:
            _log.info("%s: what workers have reported is not known: %s", collection.name, error)
            return found
        for key, record in all_known(table, live_progress_prefix(collection.name), LiveProgress).items():
            store, _, partition = key.rpartition("/")
            found.setdefault(store, {})[int(partition)] = record.next_offset
    return found


def _asked(config: Config, name: str) -> dict[str, dict[int, int]]:
    """What the first store that answers has applied: after all of Kafka was set back, nothing in Kafka shows it.

    One is enough, and a publisher should not load every store's client: a server is asked before an embedded one.
    """
    replicas = [replica for replica in config.replicas(name) if _is_there(config, replica)]
    for replica in sorted(replicas, key=lambda one: (_folder(config, one) is not None, one.role != "from")):
        beside = Daemon(f"vecferry-ask-{replica.name}")
        asked = beside.submit(partial(_applied, config, name, replica.name))
        if beside.wait(asked, _STORE_S) and asked.result():
            return {replica.name: asked.result()}
    _log.info("%s: no store says how far it has come", name)
    return {}


def _folder(config: Config, replica: Replica) -> str | None:
    """The place of an embedded store, "" where this process cannot know it; None for a server."""
    if not hasattr(config.stores[replica.store].options, "uri"):
        return None
    try:
        place: SecretStr = getattr(config.store_options(replica.store), "uri")  # noqa: B009  not every kind has one
        return local_path(place.get_secret_value())
    except (ConfigError, ValueError):
        return ""


def _is_there(config: Config, replica: Replica) -> bool:
    """Whether to open it does not make it: the folder of an embedded store may be on another machine."""
    folder = _folder(config, replica)
    return folder is None or "://" in folder or (folder != "" and Path(folder).exists())


def _applied(config: Config, name: str, replica: str) -> dict[int, int]:
    try:
        with closing(open_replica(config, name, replica)) as store:
            return dict(store.applied().live)
    except VecferryError as error:
        _log.info("%s: store %s does not say how far it has come: %s", name, replica, error)
        return {}
