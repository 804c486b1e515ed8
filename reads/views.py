"""The two compacted topics that readers listen to, tailed once for all readers of a pipeline."""

from __future__ import annotations

import threading

from ..clock import Clock
from ..errors import Unavailable
from ..forks import Home
from ..log.port import Log, Table, TopicAbsent
from ..schemas.topics import control_topic, progress_topic

_REOPEN_S = 2.0  # from one attempt to the next, and the most that one waits


class SharedViews:
    """Opens each view when it is first asked for; thread-safe."""

    def __init__(self, log: Log, namespace: str, *, clock: Clock) -> None:
        self._log = log
        self._namespace = namespace
        self._clock = clock
        self._opening = threading.Lock()  # held while the control topic is read for the first time
        self._lock = threading.Lock()
        self._control: Table | None = None
        self._progress: Table | None = None
        self._next_reopen_s = float("-inf")
        self._closed = False
        self._home = Home("these views of Kafka", self)

    def control(self, timeout_s: float) -> Table:
        """The control topic, read to its end at least once; blocks for that the first time.

        Raises Unavailable when that did not succeed in time; the next call tries again. Once read, the view serves what
        it last knew, also while Kafka is away. One that has ended (its topic was deleted, if only for a moment) is
        replaced in the background, once there is something to read again.
        """
        self._home.check()
        view = self._control
        if view is not None:
            if view.ended:
                self._reopen(view)
            return view
        if not self._opening.acquire(timeout=timeout_s):
            raise Unavailable(
                f"Kafka at {self._log.address} does not answer within {timeout_s:.1f} s; "
                "start it or correct kafka.bootstrap_servers"
            )
        try:
            if self._control is None:
                self._control = self._read_control(timeout_s)
            return self._control
        finally:
            self._opening.release()

    def progress(self) -> Table:
        """The progress topic, as far as it has been read. Does not block."""
        self._home.check()
        with self._lock:
            self._refuse_closed()
            if self._progress is None:
                self._progress = self._log.table(progress_topic(self._namespace))
            return self._progress

    def close(self) -> None:
        """Leave both topics; idempotent."""
        if self._home.left:
            return
        with self._opening, self._lock:
            self._closed = True
            for view in (self._control, self._progress):
                if view is not None:
                    view.close()

    def _reopen(self, ended: Table) -> None:
        with self._lock:
            if self._closed or self._clock.monotonic_s() < self._next_reopen_s:
                return
            self._next_reopen_s = self._clock.monotonic_s() + _REOPEN_S
        threading.Thread(target=self._replace, args=(ended,), name="vecferry-reopen", daemon=True).start()

    def _replace(self, ended: Table) -> None:
        with self._opening:
            if self._control is not ended:
                return
            try:
                self._control = self._read_control(_REOPEN_S)
            except Unavailable:
                return  # the last known route serves until a later read has it tried again
        ended.close()

    def _read_control(self, timeout_s: float) -> Table:
        with self._lock:
            self._refuse_closed()
        view = self._log.table(control_topic(self._namespace))
        try:
            view.sync(timeout_s)
        except TopicAbsent as error:
            view.close()
            raise Unavailable(
                f"topic {control_topic(self._namespace)} is not there; "
                "run `vecferry enrol COLLECTION` first, or correct the namespace"
            ) from error
        except BaseException:
            view.close()
            raise
        return view

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("this pipeline is closed; open another one")
