"""One configuration, opened: publishers and readers of its collections."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .clock import SYSTEM_CLOCK, Clock
from .config import Config, load_config
from .errors import Unavailable
from .forks import Home
from .schemas.topics import events_topic

if TYPE_CHECKING:
    from .journal.topic_watch import TopicWatch
    from .log.kafka.log import KafkaLog
    from .producers.publisher import Publisher
    from .reads.async_reader import AsyncReader
    from .reads.backend import Backend
    from .reads.reader import Reader


class Pipeline:
    """Made by ``vecferry.open``; thread-safe.

    Nothing is connected, and no store client imported, before something needs it. Close it, or leave it as a context
    manager, once its publishers and readers are no longer used: that closes the publishers too. A forked child cannot
    use it: every call raises Forked there, and ``close`` leaves everything to the parent.
    """

    def __init__(self, config: Config, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.config = config
        self._clock = clock
        self._home = Home("this pipeline", self)
        self._lock = threading.Lock()
        self._owned = ExitStack()
        self._log: KafkaLog | None = None
        self._watch: TopicWatch | None = None
        self._backend: Backend | None = None
        self._closed = False

    def publisher(self, name: str, *, on_full: Literal["block", "raise"] = "block") -> Publisher:
        """A new publisher for the collection called ``name``; ``on_full`` says what it does when its queue is full.

        Blocks and raises as opening a :class:`Publisher` does; raises ConfigError for an unknown name, and Refused for
        a collection that was enrolled otherwise than the configuration says, for a live topic that was made anew, and
        for one that ends before what a store has applied.
        """
        from .journal.topic_watch import Watched
        from .log.kafka.clients import producer_config
        from .opening import look_up
        from .producers.publisher import Publisher, refuse_unknown_on_full

        self._home.check()
        refuse_unknown_on_full(on_full)
        collection = self.config.collection(name)
        with self._lock:
            self._refuse_closed()
        log, watch = self._shared_log(), self._shared_watch()
        found = look_up(self.config, name, log)
        publisher = Publisher(
            collection,
            topic=events_topic(self.config.namespace, name),
            producer_config=producer_config(self.config.kafka),
            on_full=on_full,
            metadata_fields=self.config.metadata_fields(name),
            clock=self._clock,
            max_record_bytes=found.max_record_bytes,
            log_ends=found.log_ends,
            on_doubt=watch.look_soon,
            replicas=found.replicas,
        )
        watched = Watched(
            collection=name,
            partitions=collection.partitions,
            who="this publisher has written",
            reached=publisher.reached,
            refuse=publisher.refuse,
        )
        with self._lock:
            self._owned.callback(publisher.close)
            self._owned.callback(watch.leave, watched)
        watch.watch(watched)
        return publisher

    def reader(self, name: str, *, open_timeout_s: float = 10.0) -> Reader:
        """A new reader for the collection called ``name``; raises ConfigError.

        Blocks until the route is known and the store that it names is open, at most ``open_timeout_s`` (0: not at all);
        what is not there by then is left to the first read, which says so. Make one and keep it: only within one
        reader, or one session, do reads never go backwards. All readers of a pipeline share their connections.
        """
        reader = self._readers().reader(name)
        if not isinstance(open_timeout_s, (int, float)) or open_timeout_s != 0:
            reader.open(open_timeout_s)
        return reader

    def async_reader(self, name: str, *, max_reads: int = 32) -> AsyncReader:
        """A new reader for asyncio, for ``max_reads`` reads at once; as :meth:`reader`, but it does not block.

        Raises ConfigError, and InvalidRecord for a ``max_reads`` below 1.
        """
        return self._readers().async_reader(name, max_reads=max_reads)

    def close(self) -> None:
        """Close every publisher (which flushes it) and every connection; idempotent. Does nothing in a forked child.

        Raises what closing a publisher raises, after everything is closed.
        """
        if self._home.left:
            return
        with self._lock:
            self._closed = True
            owned = self._owned.pop_all()
        owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _readers(self) -> Backend:
        from .reads.backend import Backend

        self._home.check()
        log, watch = self._shared_log(), self._shared_watch()
        with self._lock:
            self._refuse_closed()
            if self._backend is None:
                self._backend = Backend(self.config, log, watch, clock=self._clock)
                self._owned.callback(self._backend.close)
            return self._backend

    def _shared_log(self) -> KafkaLog:
        from .log.kafka.log import KafkaLog

        with self._lock:
            self._refuse_closed()
            if self._log is None:
                self._log = KafkaLog(self.config.kafka, clock=self._clock)
                self._owned.callback(self._log.close)
            return self._log

    def _shared_watch(self) -> TopicWatch:
        from .journal.topic_watch import TopicWatch

        log = self._shared_log()
        with self._lock:
            self._refuse_closed()
            if self._watch is None:
                self._watch = TopicWatch(log, self.config.namespace)
                self._owned.callback(self._watch.close)
            return self._watch

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("this pipeline is closed; open another one")


def open(source: str | os.PathLike[str] | Mapping[str, object] | Config) -> Pipeline:
    """The pipeline that ``source`` describes: the path of a TOML file, a dict of the same shape, or a Config.

    Reads and checks the configuration, connects to nothing. Raises ConfigError with one line per problem.
    """
    return Pipeline(load_config(source))
