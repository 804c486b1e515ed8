"""One configuration, opened: publishers and readers of its collections."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .clock import SYSTEM_CLOCK, Clock
from .config import Config, load_config
from .errors import Unavailable
from .forks import Home
from .schemas.topics import control_topic, events_topic

if TYPE_CHECKING:
    from .log.kafka.log import KafkaLog
    from .producers.publisher import Publisher
    from .reads.async_reader import AsyncReader
    from .reads.backend import Backend
    from .reads.reader import Reader
    from .schemas.collection import Collection

_log = logging.getLogger("vecferry.pipeline")

_JOURNAL_S = 5.0  # a control topic is small


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
        self._backend: Backend | None = None
        self._closed = False

    def publisher(self, name: str, *, on_full: Literal["block", "raise"] = "block") -> Publisher:
        """A new publisher for the collection called ``name``; ``on_full`` says what it does when its queue is full.

        Blocks and raises as opening a :class:`Publisher` does; raises ConfigError for an unknown name, and Refused for
        a collection that was enrolled with another space than the configuration says.
        """
        from .log.kafka.clients import producer_config
        from .producers.publisher import Publisher

        self._home.check()
        collection = self.config.collection(name)
        with self._lock:
            self._refuse_closed()
        publisher = Publisher(
            collection,
            topic=events_topic(self.config.namespace, name),
            producer_config=producer_config(self.config.kafka),
            on_full=on_full,
            metadata_fields=self.config.metadata_fields(name),
            clock=self._clock,
        )
        try:
            self._refuse_other_configuration(collection)
        except BaseException:
            publisher.close()
            raise
        with self._lock:
            self._owned.callback(publisher.close)
        return publisher

    def _refuse_other_configuration(self, collection: Collection) -> None:
        """As the journal's. What cannot be read is not refused: an application may have no right to read the journal,
        and its writes must not depend on that.
        """
        from .journal.enrolled import refuse_other_configuration

        log, topic = self._shared_log(), control_topic(self.config.namespace)
        try:
            if not log.admin.topics([topic]):  # first: to ask for an absent topic by its name may create it
                return
            with closing(log.table(topic)) as control:
                control.sync(_JOURNAL_S)
                refuse_other_configuration(control, collection)
        except Unavailable as error:
            _log.warning("%s: what it was enrolled with is not known: %s", collection.name, error)

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
        log = self._shared_log()
        with self._lock:
            self._refuse_closed()
            if self._backend is None:
                self._backend = Backend(self.config, log, clock=self._clock)
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

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("this pipeline is closed; open another one")


def open(source: str | os.PathLike[str] | Mapping[str, object] | Config) -> Pipeline:
    """The pipeline that ``source`` describes: the path of a TOML file, a dict of the same shape, or a Config.

    Reads and checks the configuration, connects to nothing. Raises ConfigError with one line per problem.
    """
    return Pipeline(load_config(source))
