"""One worker process: all collections of one store, each with its own thread, consumer and store handle."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event

from ..clock import Clock
from ..config import Config
from ..errors import ConfigError, Refused
from ..journal.topic_watch import TopicWatch, Watched
from ..log.kafka.log import KafkaLog
from ..replicas import open_replica
from ..schemas.topics import control_topic
from .applying import Abandoned
from .worker import CollectionWorker

_log = logging.getLogger("vecferry.worker")

_WATCH_S = 0.2


def run_worker(config: Config, store_name: str, collections: Sequence[str], clock: Clock, stop: Event) -> None:
    """Apply the events of ``collections`` to ``store_name`` until ``stop`` is set; blocks. Empty: all of the store's.

    On ``stop`` the worker applies and commits the turns that it has begun. When one collection fails, the others are
    stopped too and its error is raised: Refused, Unavailable, Fatal, ConfigError.
    """
    fed = _fed(config, store_name, collections)
    topic = control_topic(config.namespace)
    log = KafkaLog(config.kafka, clock=clock)
    if not log.admin.topics([topic]):
        raise Refused(f"topic {topic} does not exist; run `vecferry enrol {fed[0][0]}` first")
    control = log.table(topic)
    instance = f"{socket.gethostname()}-{os.getpid()}"
    workers, stores = [], []
    watch = TopicWatch(log, config.namespace)
    try:
        control.sync()
        for name, replica in fed:
            store = open_replica(config, name, replica)
            stores.append(store)
            store.applied()  # raises if the store is absent at the start; a worker waits for one that goes away later
            workers.append(CollectionWorker(config, name, replica, store, log, control, clock, instance))
            watch.watch(_watched(config, name, replica, workers[-1]))
        _run_all(workers, stop)
    finally:
        watch.close()
        for store in stores:
            store.close()
        control.close()
        log.close()


def _watched(config: Config, name: str, replica: str, worker: CollectionWorker) -> Watched:
    return Watched(
        collection=name,
        partitions=config.collection(name).partitions,
        who=f"the worker of store {replica} has read",
        reached=worker.reached,
        refuse=worker.refuse,
    )


def _fed(config: Config, store_name: str, collections: Sequence[str]) -> list[tuple[str, str]]:
    """Each collection with each of its replicas in the store; raises ConfigError."""
    lie_in = {name: [r for r in config.replicas(name) if r.store == store_name] for name in config.collections}
    if store_name not in config.stores:
        known = ", ".join(config.stores)
        homes = {r.store for name in config.collections for r in config.replicas(name) if r.name == store_name}
        hint = f"the replica of that name lies in {', '.join(sorted(homes))}" if homes else f"known: {known}"
        raise ConfigError(f"store {store_name!r} is not in the configuration; {hint}")
    for name in collections:
        if not lie_in.get(name):
            config.placement(name, store_name)  # says what is not known
    fed = [(name, replica.name) for name in collections or lie_in for replica in lie_in[name]]
    if not fed:
        raise ConfigError(f"no collection lies in store {store_name!r}; add [collections.NAME.in.{store_name}]")
    return fed


def _run_all(workers: Sequence[CollectionWorker], stop: Event) -> None:
    with ThreadPoolExecutor(len(workers), thread_name_prefix="worker") as pool:
        running = [pool.submit(worker.run) for worker in workers]
        while not stop.is_set() and not wait(running, _WATCH_S, FIRST_COMPLETED).done:
            pass
        for worker in workers:
            worker.stop()
    failures = [error for future in running if (error := future.exception()) is not None]
    # A worker that was stopped because another failed may abandon its batch; the first failure is the cause.
    failures.sort(key=lambda error: isinstance(error, Abandoned))
    for error in failures[1:]:
        _log.warning("%s", error)
    if failures:
        raise failures[0]
