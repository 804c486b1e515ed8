"""Looks now and then whether live topics are still what they were: not made anew, and not set back.

A client of Kafka knows topics by name and offsets as numbers. It writes to a topic that was deleted and made anew, and
to one that lost its newest records, as if nothing had happened.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import Refused, Unavailable
from ..log.port import Log, Table
from ..schemas.topics import control_topic, events_topic
from .enrolled import enrolled_topic
from .log_end import beyond_the_end

_log = logging.getLogger("vecferry.journal")

EVERY_S = 2.0
_SYNC_S = 5.0
_END_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """Whoever relies on the live topic of ``collection``.

    who       for messages: ``this publisher has written``
    reached   by partition, the next offset after the last one that is known to have been in the topic
    refuse    called once, from another thread, with what is wrong
    """

    collection: str
    partitions: int
    who: str
    reached: Callable[[], Mapping[int, int]]
    refuse: Callable[[Refused], None]


class TopicWatch:
    """One thread for all that a process watches; it is made with the first one. Thread-safe.

    With ``every_s`` None there is none, and somebody calls ``look``.
    """

    def __init__(self, log: Log, namespace: str, *, every_s: float | None = EVERY_S) -> None:
        self._log = log
        self._namespace = namespace
        self._every_s = every_s
        self._lock = threading.Lock()
        self._watched: list[Watched] = []
        self._control: Table | None = None
        self._soon = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, watched: Watched) -> None:
        """Look at once, and then every few seconds, until something is wrong. Does not block."""
        with self._lock:
            if self._closed:
                return
            self._watched.append(watched)
            if self._thread is None and self._every_s is not None:
                self._thread = threading.Thread(target=self._run, name="vecferry-watch", daemon=True)
                self._thread.start()
        self.look_soon()

    def leave(self, watched: Watched) -> None:
        """Watch no more; idempotent."""
        with self._lock:
            if watched in self._watched:
                self._watched.remove(watched)

    def look_soon(self) -> None:
        """Look now: something is suspicious. Does not block."""
        self._soon.set()

    def close(self) -> None:
        """End the thread; waits a moment for a request that is under way. Idempotent."""
        with self._lock:
            self._closed = True
            control, self._control = self._control, None
        self._soon.set()
        if self._thread is not None:
            self._thread.join(_END_S)
        if control is not None:
            control.close()

    def look(self) -> None:
        """Look at everything once. Blocks for two requests each."""
        with self._lock:
            watched = list(self._watched)
        for each in watched:
            if self._closed:
                return
            try:
                problem = self._problem(each)
            except (Unavailable, Refused):
                continue  # Kafka is away, or a later version wrote the record: the next look may tell
            if problem is not None:
                _log.error("%s: %s", each.collection, problem)
                self.leave(each)
                each.refuse(problem)

    def _run(self) -> None:
        while not self._closed:
            self._soon.wait(self._every_s)
            self._soon.clear()
            self.look()

    def _problem(self, watched: Watched) -> Refused | None:
        control = self._table()
        if control is None:
            return None
        topic = events_topic(self._namespace, watched.collection)
        record = enrolled_topic(control, watched.collection)
        if record is not None and record.topic_id:
            problem = record.topic_problem(topic, self._log.admin.topic_id(topic))
            if problem:
                return Refused(problem)
        reached = watched.reached()  # before the end is asked for: it may rise meanwhile
        if not any(reached.values()):
            return None
        ends = self._log.admin.end_offsets(topic, watched.partitions)
        return beyond_the_end(watched.collection, topic, watched.who, reached, ends)

    def _table(self) -> Table | None:
        if self._control is None or self._control.ended:
            topic = control_topic(self._namespace)
            if not self._log.admin.topics([topic]):  # to ask for an absent topic by its name may create it
                return None
            table = self._log.table(topic)
            with self._lock:
                if self._closed:
                    table.close()
                    return None
                self._control = table
            table.sync(_SYNC_S)
        return self._control
