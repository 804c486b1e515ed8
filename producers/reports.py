"""Serving the client's delivery reports, which run the callbacks that complete deliveries."""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from ..clock import Clock

CALLS_PER_TURN = 64
_REST_S = 0.005
_POLL_S = 0.1  # how long closing may wait for the thread


class Reports:
    """A thread that serves reports, and a :meth:`serve` by which busy callers do it themselves.

    Each report needs the interpreter lock. Two threads that exchange it for every record lose much of the rate, so the
    thread sleeps while ``calls`` shows that callers come often enough to serve the reports.
    """

    __slots__ = (
        *("_clock", "_on_error", "_on_served", "_polling", "_producer", "_room", "_serving", "_stopping", "_thread"),
        "calls",
    )

    def __init__(
        self,
        producer: Producer,
        name: str,
        on_error: Callable[[KafkaError], None],
        clock: Clock,
        on_served: Callable[[], None] = lambda: None,
    ) -> None:
        self._producer = producer
        self._on_error = on_error
        self._on_served = on_served
        self._clock = clock
        self._room = threading.Condition()
        self._serving = threading.RLock()
        self._polling = False  # within, a callback of the application may publish
        self._stopping = False
        self.calls = 0  # counted by the callers without a lock; an inexact count is good enough
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Serve the waiting reports, unless another thread is doing so."""
        try:
            if self._serving.acquire(blocking=False) and not self._polling:
                self._poll(0.0)
        finally:
            # A KeyboardInterrupt may come after any call, so only the lock itself knows whether this thread holds it.
            try:  # noqa: SIM105  one call more before it would be a place for an interrupt
                self._serving.release()
            except RuntimeError:
                pass  # another thread does

    def _poll(self, timeout_s: float) -> None:
        """What is fatal to the client goes to ``on_error``. Deliveries rely on one thread at a time."""
        self._polling = True
        try:
            served = self._producer.poll(timeout_s)
        except KafkaException as error:  # the client raises here too when it stops for good
            self._on_error(error.args[0])
            return
        finally:
            self._polling = False
        if served:
            self._on_served()
            with self._room:
                self._room.notify_all()

    def wait_for_room(self) -> None:
        """Block until reports have made room in the client's queue, or for a moment."""
        with self._room:
            self._room.wait(_POLL_S)

    def stop(self) -> None:
        """End the thread; blocks for a moment."""
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        seen, busy = 0, False
        while not self._stopping:
            with self._serving:
                self._poll(0.0 if busy else _POLL_S)  # to wait here would keep busy callers from serving
            busy, seen = self.calls - seen >= CALLS_PER_TURN, self.calls
            if busy:
                self._clock.sleep_s(_REST_S)
