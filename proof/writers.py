"""The writing side of the application, as a process: ``python -m vecferry.proof.writers TASK.json``.

Open loop: write n is due at a fixed time, whether or not earlier ones were acknowledged, so a slow pipeline meets the
same load as a fast one. An acknowledged write, and nothing else, goes to the writer's ledger file.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from .. import VecferryError
from .. import open as open_pipeline
from ..clock import SYSTEM_CLOCK
from .catalogue import load
from .ledger import DELETE, UPSERT, Entry, digest
from .load import Task, run_until_stopped
from .workload import Write, Writes

_ACKNOWLEDGEMENT_S = 150.0  # above the client's own delivery time-out


class Writer:
    """One writing thread, and one that waits for what it wrote and keeps the ledger."""

    def __init__(self, publisher: Any, writes: Writes, ledger: Path, interval_s: float, stop: threading.Event) -> None:
        self._publisher = publisher
        self._writes = writes
        self._ledger = ledger
        self._interval_s = interval_s
        self._stop = stop
        self._sent: SimpleQueue[tuple[Write, Any, float] | None] = SimpleQueue()
        self.published = self.acknowledged = 0
        self.call_s: list[float] = []
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self._write), threading.Thread(target=self._record)]

    def _write(self) -> None:
        due_s = SYSTEM_CLOCK.monotonic_s()
        while not self._stop.wait(max(0.0, due_s - SYSTEM_CLOCK.monotonic_s())):
            due_s += self._interval_s
            write = self._writes.next()
            sent_s = SYSTEM_CLOCK.unix_s()
            try:
                self._sent.put((write, self._publish(write), sent_s))
            except VecferryError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.published += 1
        self._sent.put(None)

    def _publish(self, write: Write) -> Any:
        if write.vector is None:
            return self._publisher.delete(write.id)
        began_s = SYSTEM_CLOCK.monotonic_s()
        delivery = self._publisher.upsert(write.id, write.vector, write.metadata)
        self.call_s.append(SYSTEM_CLOCK.monotonic_s() - began_s)
        return delivery

    def _record(self) -> None:
        with self._ledger.open("a", buffering=1) as ledger:
            while (sent := self._sent.get()) is not None:
                write, delivery, sent_s = sent
                try:
                    token = delivery.result(timeout=_ACKNOWLEDGEMENT_S)
                except VecferryError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    continue
                ledger.write(_entry(write, token, sent_s).line())
                self.acknowledged += 1


def _entry(write: Write, token: Any, sent_s: float) -> Entry:
    return Entry(
        id=write.id,
        op=DELETE if write.vector is None else UPSERT,
        partition=token.partition,
        position=token.position,
        content=None if write.vector is None else digest(write.vector, write.metadata),
        sent_s=sent_s,
        acknowledged_s=SYSTEM_CLOCK.unix_s(),
    )


def main(task: Task) -> None:
    """Write until told to stop, then wait for every acknowledgement."""
    catalogue = load(Path(task.data), task.rows)
    stop = threading.Event()
    with open_pipeline(task.config) as pipeline, pipeline.publisher(task.collection) as publisher:
        writers = [
            Writer(
                publisher,
                Writes(catalogue, task.seed, number),
                Path(task.ledgers) / f"{number}.ledger",
                task.writers / task.rate,
                stop,
            )
            for number in range(task.writers)
        ]

        def counts() -> dict[str, object]:
            calls_s = [seconds for writer in writers for seconds in writer.call_s]
            return {
                "published": sum(writer.published for writer in writers),
                "acknowledged": sum(writer.acknowledged for writer in writers),
                "failures": [line for writer in writers for line in writer.failures],
                "publish_call_p50_us": float(np.median(calls_s)) * 1_000_000 if calls_s else 0.0,
            }

        run_until_stopped([thread for writer in writers for thread in writer.threads], stop, counts)


if __name__ == "__main__":
    main(Task.read(Path(sys.argv[1])))
