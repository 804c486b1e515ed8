"""The two compacted topics that readers listen to, tailed once for all readers of a pipeline."""

from __future__ import annotations

import threading

from confluent_kafka import KafkaError, KafkaException

from ..clock import Clock
from ..config import KafkaSection
from ..errors import Unavailable
from ..log.kafka.view import CompactedView
from ..schemas.topics import control_topic, progress_topic

_ABSENT = frozenset(
    {
        KafkaError._NOENT,  # of a topic without a leader
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
_REOPEN_S = 2.0  # from one attempt to the next, and the most that one waits


class SharedViews:
    """Opens each view when it is first asked for; thread-safe."""

    def __init__(self, kafka: KafkaSection, namespace: str, *, clock: Clock) -> None:
        self._kafka = kafka
        self._namespace = namespace
        self._clock = clock
        self._opening = threading.Lock()  # held while the control topic is read for the first time
        self._lock = threading.Lock()
        self._control: CompactedView | None = None
        self._progress: CompactedView | None = None
        self._next_reopen_s = float("-inf")
        self._closed = False

    def control(self, timeout_s: float) -> CompactedView:
        """The control topic, read to its end at least once; blocks for that the first time.

        Raises Unavailable when that did not succeed in time; the next call tries again. Once read, the view serves what
        it last knew, also while Kafka is away. One that has ended (its topic was deleted, if only for a moment) is
        replaced in the background, once there is something to read again.
        """
        view = self._control
        if view is not None:
            if view.ended:
                self._reopen(view)
            return view
        if not self._opening.acquire(timeout=timeout_s):
            raise Unavailable(
                f"Kafka at {self._kafka.bootstrap_servers} does not answer within {timeout_s:.1f} s; "
                "start it or correct kafka.bootstrap_servers"
            )
        try:
            if self._control is None:
                self._control = self._read_control(timeout_s / 2)  # the view waits for the end, then for the records
            return self._control
        finally:
            self._opening.release()

    def progress(self) -> CompactedView:
        """The progress topic, as far as it has been read. Does not block."""
        with self._lock:
            self._refuse_closed()
            if self._progress is None:
                self._progress = CompactedView(self._kafka, progress_topic(self._namespace), clock=self._clock)
            return self._progress

    def close(self) -> None:
        """Leave both topics; idempotent."""
        with self._opening, self._lock:
            self._closed = True
            for view in (self._control, self._progress):
                if view is not None:
                    view.close()

    def _reopen(self, ended: CompactedView) -> None:
        with self._lock:
            if self._closed or self._clock.monotonic_s() < self._next_reopen_s:
                return
            self._next_reopen_s = self._clock.monotonic_s() + _REOPEN_S
        threading.Thread(target=self._replace, args=(ended,), name="vecferry-reopen", daemon=True).start()

    def _replace(self, ended: CompactedView) -> None:
        with self._opening:
            if self._control is not ended:
                return
            try:
                self._control = self._read_control(_REOPEN_S)
            except Unavailable:
                return  # the last known route serves until a later read has it tried again
        ended.close()

    def _read_control(self, timeout_s: float) -> CompactedView:
        with self._lock:
            self._refuse_closed()
        view = CompactedView(self._kafka, control_topic(self._namespace), clock=self._clock)
        try:
            view.sync(timeout_s)
        except BaseException as error:
            view.close()
            if _is_absent(error):
                raise Unavailable(
                    f"topic {control_topic(self._namespace)} is not there; "
                    "run `vecferry enrol COLLECTION` first, or correct the namespace"
                ) from error
            raise
        return view

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("this pipeline is closed; open another one")


def _is_absent(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in _ABSENT
